// Keeps the newest words in sight and says them to screen readers; puts suggested words where they
// can be edited. Texts go into the page as texts, never as markup.
(() => {
  const news = (text) => {
    const place = document.getElementById("cg-news");
    if (place && text && place.textContent !== text) place.textContent = text;
  };

  // The page may change a conversation in place: what was followed last is kept beside it.
  const followed = new WeakMap();
  const follow = (talk) => {
    const now = `${talk.dataset.news}/${talk.querySelectorAll("li").length}`;
    if (followed.get(talk) === now) return;
    followed.set(talk, now);
    talk.scrollTop = talk.scrollHeight;
    news(talk.dataset.news);
  };
  new MutationObserver(() => document.querySelectorAll(".cg-talk").forEach(follow)).observe(
    document.documentElement,
    { childList: true, subtree: true, characterData: true, attributeFilter: ["data-news"] },
  );

  const field = () => document.querySelector("#cg-words textarea, #cg-words input");

  document.addEventListener("click", (event) => {
    const use = event.target.closest?.(".cg-use");
    const box = field();
    if (use && box) {
      box.value = use.dataset.words;
      box.dispatchEvent(new Event("input", { bubbles: true }));
      box.focus();
      return;
    }
    // Who has just met a customer, or spoken by the button, speaks next.
    if (box && event.target.closest?.("#cg-meet, #cg-other, #cg-send")) {
      setTimeout(() => box.focus({ preventScroll: true }), 150);
    }
  });
})();

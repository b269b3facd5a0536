// Search runs in a worker, which browsers give to no page that is read from a folder (file:). There an
// invisible frame stands in, so that the site needs no server.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.hidden = true;
      this.inside = frame.contentWindow;
      this.ready = new Promise((resolve) => {
        this.inside.document.open();
        this.inside.postMessage = (data) => this.answer(data);
        this.inside.addEventListener("load", resolve);
        this.inside.document.write(`<script src="${url}"></` + "script>");
        this.inside.document.close();
      });
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    answer(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }

    terminate() {}
  };
}

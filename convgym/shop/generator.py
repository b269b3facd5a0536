"""Shops that nobody has seen: catalogues of random words, needs, features, names and prices.

For sellers that are to read their shop instead of knowing it by heart: what is learned in
thousands of such shops holds in none by itself, only by looking it up (``Catalog.leaflet``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from convgym.checks import check_seed
from convgym.shop.catalog import Catalog, Feature, Need, Product

_Topic = TypeVar("_Topic", bound=Need)
VERSION = 0
"""Raised with every change of what a seed makes."""

WORDS: tuple[str, ...] = tuple(
    """
acorn acrobat airport alarm album almond amber anchor angel ankle apple apron aquarium archery
armor arrow artist ashes attic aunt autumn bakery baking balcony ballet balloon bamboo banana
bandage banquet barbecue barley barn barrel baseball basement basin bath bathroom beach bead
beans bear beard bedroom bee beetle bell belt bench berry bible birthday biscuit blanket blender
blossom boat boiler bonfire boots bottle boulder bowling branch brass bread breakfast breeze
brick bridge bronze broom brush bucket buckle buffet bunker burger bush butter butterfly button
cabin cabinet cactus cake camel camera canal candle candy canoe canvas captain caravan carpet
carrot castle cathedral cattle cave ceiling cellar cello cement ceramic cereal chain chalk
cheese cherry chess chicken chimney chocolate choir christmas church cider cinema circus clay
cliff climbing clinic clock closet cloth cloud clover coal coast coconut coffee coin collar
comet compass concert cooking copper coral cork corn costume cotton cousin cradle cream cricket
crown crystal cucumber curtain cushion dairy dancing dentist desert desk diamond diary dinner
diver diving dolphin donkey dough dragon drawer drawing dream dress drill drum duck dust eagle
earring easter eggs elbow elephant embroidery emerald engine estate evergreen fabric factory
fairy farm farmer feather fence ferry festival fever fiddle fig fingers fireplace fishing flag
flame flannel flea flour flower flute foam fog forge fork fountain fox fridge frog frost fruit
fur furnace garage garden garlic gate ghost giraffe glacier glass glove glue goat gold golf
goose grain granite grape grapes grass gravel grill guitar gymnastics hall hammer hammock handle
harbor harp harvest hat hay hazel helmet herb herbs hiking hockey honey hook horn horse hospital
hotel hunting ice igloo ink insect iron island ivory jacket jam jar jazz jelly jewel jewelry
juice jungle kettle keyboard kitchen kite knee knife knitting knot laboratory lace ladder lake
lamb lamp lantern laundry lava lawn leather lemon lettuce library lighthouse lily lime linen
lion lobster lodge loft lotion lunch magazine magic magnet mango maple marathon marble market
marriage mask mattress meadow meat medal medicine melon metal microphone midnight milk mill
mineral mirror mobile mosaic moss moth motel mouse museum mushroom mustard nail napkin navy neck
necklace needle nephew nest net noodle nursery nut nylon oak oasis oats ocean oil olive onion
opera orange orchard orchestra oven owl oyster paddle painting palace pan pancake panda panther
paper parade parcel park parrot party pasta pastry patio peach peanut pearl pebble pencil pepper
perfume piano pickle picnic pie pier pig pigeon pillow pilot pine pirate pizza planet plaster
plate plum pocket poem poetry pond pony pool poppy porch porcelain porridge pot potato pottery
powder prairie prison pudding puddle pumpkin puppet pyramid quilt rabbit radio raft railway rain
raincoat raisin ranch raspberry recipe reef rehearsal rest ribbon rice rifle ring robot rocket
roof rope rose rowing rubber rug ruin rum running sailing sailor salad salmon salt sand sandals
sandwich satin sauce sausage scarf school science scissors sculpture seafood seal seaside sewing
shade shark shawl sheep shell shelter shirt shoe shoes shower shrimp silk silver singing skating
sketch ski skiing skin skirt sky sled sleep sleeve slippers smoke snail snake snow soap socks
sofa soil soldier soup spice spider spinach sponge spoon squash squirrel stable stadium stage
stairs stamp star statue steak steam steel stew stone storm stove straw strawberry string sugar
suitcase summer sunday sunset surfing swan sweater swimming sword syrup tailor tango tea teapot
tears temple tennis tent terrace theatre thread throat throne thunder tiger tiles timber tin
toast tobacco tomato tongue tooth torch towel tower toys tractor treasure trumpet tulip tunnel
turkey turtle twins umbrella uncle uniform valley vanilla vase vegetable velvet village violin
volcano wagon waiter wallet walnut waltz wardrobe wasp watch water waterfall wax wedding weeds
whale wheat whistle willow window wine winter witch wolf wood wool workshop worm yacht yarn yoga
yogurt zebra zinc zoo
""".split()
)
"""What needs and features are about; the held-out shop's words are none of them."""

_SYLLABLES = """
ba be bi bo bra ca ce co cra da de di do dra fa fe fi fo fra ga ge gi go gra ha he hi ho ja jo
ka ke ki ko kra la le li lo ma me mi mo na ne ni no pa pe pi po pra ra re ri ro sa se si so sta
ta te ti to tra va ve vi vo wa we wi za ze zi zo
""".split()
_LAST = "n r l s t m x nd rt ss th ck ne sh ll rn".split()

NEED_FRAMES: tuple[str, ...] = (
    "{0}",
    "the {0} and the {1}",
    "my {0}",
    "{0} with friends",
    "the {0}, every day",
    "a lot of {0}",
    "{0}, at home mostly",
)
"""How customers word a need, with one or two of its words."""
FEATURE_FRAMES: tuple[str, ...] = (
    "a good {0}",
    "it has to be about {0}",
    "the {0}, like on the {1}",
    "lots of {0}",
    "the {0} should last",
    "{0}, since I had none before",
)
"""How they word a feature."""
_STEPS = ((1, 8, 36), (10, 60, 400), (20, 80, 600), (50, 400, 1500))
"""Steps of prices, and between what the cheaper products of shops with such a step cost."""


def random_catalog(seed: int, *, small: bool = False) -> Catalog:
    """Return the shop of a seed: the same seed, the same shop.

    Built like the shops of the package: for every need two products of each price level, a
    modest one and one of about twice the price, which share out the features.

    Args:
        seed: everything random follows from it.
        small: three needs and few words, for those who begin to read.

    Raises:
        ConvgymError: for a seed that is no non-negative integer.
    """
    n_needs, n_words = (3, (2, 4)) if small else (4, (5, 9))
    rng = random.Random(f"shop-v{VERSION}/{check_seed(seed)}")
    words = rng.sample(WORDS, len(WORDS))
    taken = iter(words)
    item = next(taken)
    needs = {
        topic[0]: Need(phrases=_phrases(NEED_FRAMES, topic, 3, rng), words=tuple(topic))
        for topic in _topics(n_needs, n_words, taken, rng)
    }
    features = {
        topic[0]: Feature(
            phrases=_phrases(FEATURE_FRAMES, topic, 2, rng),
            words=tuple(topic),
            claim=f"has the {topic[0]}",
            question=f"the {topic[0]}",
        )
        for topic in _topics(4, n_words, taken, rng)
    }
    step, low, high = rng.choice(_STEPS)
    meanings = {word for topic in (*needs.values(), *features.values()) for word in topic.words}
    products = _products(list(needs), list(features), (step, low, high), meanings | {item}, rng)
    rng.shuffle(products)
    return Catalog(
        name=f"random-{seed}",
        item=item,
        items=f"{item}s",
        currency="$",
        needs=needs,
        features=features,
        products=tuple(products),
        budget_step=step,
    )


def _topics(
    n: int, sizes: tuple[int, int], words: Iterator[str], rng: random.Random
) -> list[list[str]]:
    return [[next(words) for _ in range(rng.randint(*sizes))] for _ in range(n)]


def _phrases(
    frames: Sequence[str], words: Sequence[str], n: int, rng: random.Random
) -> tuple[str, ...]:
    return tuple(wish(frame, words, rng) for frame in rng.sample(frames, n))


def wish(frame: str, words: Sequence[str], rng: random.Random) -> str:
    """Return how a customer words a wish.

    Args:
        frame: one of ``NEED_FRAMES`` or ``FEATURE_FRAMES``.
        words: two or more that give the need or feature away, of which one or two are said.
        rng: everything random comes from it.
    """
    return frame.format(*rng.sample(words, 2))


def mix(said: str, fillers: Sequence[str], rng: random.Random) -> str:
    """Return what was said with up to three fillers anywhere in it."""
    words = said.split(" ")
    for _ in range(rng.randint(0, 3)):
        words.insert(rng.randint(0, len(words)), rng.choice(fillers))
    return " ".join(words)


def talkative(catalog: Catalog, fillers: Sequence[str], rng: random.Random) -> Catalog:
    """Return a shop in which fillers are mixed into how customers word their wishes.

    Args:
        catalog: of the shop.
        fillers: words that give nothing away.
        rng: everything random comes from it.
    """

    def mixed(topics: Mapping[str, _Topic]) -> dict[str, _Topic]:
        return {
            name: topic.model_copy(
                update={"phrases": tuple(mix(said, fillers, rng) for said in topic.phrases)}
            )
            for name, topic in topics.items()
        }

    return catalog.model_copy(
        update={"needs": mixed(catalog.needs), "features": mixed(catalog.features)}
    )


def _products(
    needs: Sequence[str],
    features: Sequence[str],
    prices: tuple[int, int, int],
    meanings: set[str],
    rng: random.Random,
) -> list[Product]:
    step, low, high = prices
    names, products = set(meanings), []
    for need in needs:
        base = rng.uniform(low, high)
        shuffled = rng.sample(features, len(features))
        for level in (1.0, rng.uniform(1.9, 2.3)):
            for offered in (shuffled[:2], shuffled[2:]):
                price = max(1, round(base * level * rng.uniform(1.0, 1.12) / step)) * step
                name = random_name(names, rng)
                products.append(
                    Product(name=name, price=price, needs=(need,), features=tuple(offered))
                )
    return products


def random_name(taken: set[str], rng: random.Random) -> str:
    """Return a name of two or three syllables and a last sound, and add it to ``taken``.

    One syllable may be a word that everybody says, such as "for".
    """
    while True:
        name = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(1, 2)))
        name = (name + rng.choice(_SYLLABLES) + rng.choice(_LAST)).capitalize()
        if name.lower() not in taken and name.lower() not in WORDS:
            taken.add(name.lower())
            return name

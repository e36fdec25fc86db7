/** What the shop sells. The catalog's table is seeded from here; prices are in cents. */

export interface Product {
  sku: string;
  name: string;
  category: "tea" | "pots" | "cups" | "tools";
  /** Which drawing the front shows, and in which colours. */
  art: string;
  tint: string;
  price_cents: number;
  line: string;
  description: string;
}

type Entry = [sku: string, name: string, art: string, tint: string, cents: number, line: string, description: string];

const tea: Entry[] = [
  ["first-frost-white", "First Frost", "tin", "mist", 1490, "White tea · 60 g", "Spring buds, withered in the open air and hardly touched after. Pale in the cup, with melon and fresh hay."],
  ["hillside-green", "Hillside Green", "tin", "moss", 1190, "Green tea · 80 g", "Pan-fired leaves from a steep, foggy slope. Sweet chestnut first, then a clean finish like cut grass."],
  ["old-road-oolong", "Old Road Oolong", "pouch", "amber", 1790, "Oolong · 75 g", "Rolled tight and roasted twice over charcoal. Opens over six infusions, from toasted grain to dried apricot."],
  ["harbour-breakfast", "Harbour Breakfast", "tin", "brick", 990, "Black tea · 125 g", "The strong one. Two gardens, blended for milk and early mornings, with malt and a little orange peel."],
  ["smoke-and-pine", "Smoke & Pine", "pouch", "slate", 1390, "Black tea · 80 g", "Dried over resinous pine. Smells like a campfire and tastes gentler than it smells."],
  ["night-garden", "Night Garden", "jar", "plum", 1090, "Herbal · 60 g", "Camomile, lemon balm, lavender and linden. No caffeine and no hurry."],
  ["ginger-lantern", "Ginger Lantern", "jar", "amber", 1090, "Herbal · 90 g", "Ginger, turmeric and lemongrass, cut coarse so that they stay bright. Good cold, too."],
  ["dark-cellar-puerh", "Dark Cellar Pu-erh", "cake", "brick", 2890, "Pu-erh · 200 g cake", "Pressed in 2015 and aged in a dry cellar. Deep and earthy, with cocoa and wet stone."],
];

const pots: Entry[] = [
  ["round-belly-pot", "Round Belly Teapot", "teapot", "moss", 6400, "Stoneware · 750 ml", "Thrown by hand and glazed in three greens. The spout does not drip; we checked."],
  ["lowlight-pot", "Lowlight Teapot", "teapot", "slate", 7200, "Cast iron · 600 ml", "Keeps its heat for an hour. Enamelled inside, so that it doesn't rust."],
  ["apricot-pot", "Apricot Teapot", "teapot", "brick", 5900, "Stoneware · 500 ml", "A small pot for two, in a glaze that comes out different in every firing."],
  ["gooseneck-kettle", "Gooseneck Kettle", "kettle", "mist", 8900, "Steel · 900 ml", "Pours as slowly as you ask it to. For gas, electric and induction."],
  ["hob-kettle", "Whistling Kettle", "kettle", "amber", 6900, "Enamel · 1.8 l", "Loud on purpose. Comes with a handle that stays cool."],
  ["side-handle-pot", "Side-handle Pot", "sidepot", "plum", 5400, "Clay · 280 ml", "For one person and many infusions. The holes of its strainer are drilled by hand."],
];

const cups: Entry[] = [
  ["morning-mug", "Morning Mug", "mug", "brick", 2400, "Stoneware · 350 ml", "Thick walls, wide handle, made to be held with both hands."],
  ["fog-mug", "Fog Mug", "mug", "mist", 2400, "Stoneware · 350 ml", "The same mug under a quiet, milky glaze."],
  ["forest-bowl", "Forest Tea Bowl", "bowl", "moss", 3200, "Stoneware · 300 ml", "A bowl for whisked tea, with room for the whisk and a foot that doesn't get hot."],
  ["ink-bowl", "Ink Tea Bowl", "bowl", "slate", 3200, "Stoneware · 300 ml", "Black outside, deep blue where the glaze has pooled."],
  ["thimble-cups", "Thimble Cups", "cups", "plum", 2800, "Porcelain · set of three", "Forty millilitres each. Thin enough to see the light through."],
  ["honey-glass", "Double-wall Glass", "glass", "amber", 1900, "Glass · 250 ml", "Hot inside, cool outside, and the tea seems to float."],
];

const tools: Entry[] = [
  ["bamboo-whisk", "Bamboo Whisk", "whisk", "moss", 1800, "100 prongs", "Split from one piece of bamboo. Soak it before its first use."],
  ["brass-scoop", "Brass Scoop", "scoop", "amber", 1500, "5 g measure", "Holds what a mug needs. Grows darker and nicer with the years."],
  ["basket-strainer", "Basket Strainer", "strainer", "mist", 1700, "Fine steel mesh", "Deep enough for leaves to open. Sits on any of our cups."],
  ["oak-tray", "Oak Tray", "tray", "brick", 4600, "Solid oak · 40 cm", "With a groove for drips and two handles cut through."],
];

const group = (category: Product["category"], entries: Entry[]): Product[] =>
  entries.map(([sku, name, art, tint, price_cents, line, description]) => ({
    sku,
    name,
    category,
    art,
    tint,
    price_cents,
    line,
    description,
  }));

export const PRODUCTS: Product[] = [...group("tea", tea), ...group("pots", pots), ...group("cups", cups), ...group("tools", tools)];

// Builders of HTML and SVG nodes. Text becomes a text node and nothing else, so that no name, label or
// message of a record can become markup.

const SVG = "http://www.w3.org/2000/svg";

const build = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    // A style attribute is refused by the policy; single properties are not.
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...kept(children));
  return node;
};

const kept = (children) => children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false);

const named = (make) => (selector, ...rest) => {
  const [tag, ...classes] = selector.split(".");
  const node = make(tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  const plain = rest[0]?.constructor === Object ? rest.shift() : null;
  return build(node, plain, rest);
};

/** An HTML element: `h("p.small", {id: "x"}, "text", child)`; the attributes may be left out. */
export const h = named((tag) => document.createElement(tag));
/** An SVG element, as `h`. */
export const s = named((tag) => document.createElementNS(SVG, tag));
/** Replace all children of a node. */
export const put = (node, ...children) => {
  node.replaceChildren(...kept(children));
  return node;
};

const ICONS = {
  warning: "M8 2.2 14.4 13.4H1.6Z M8 6.4v3.2 M8 11.6v.1",
  info: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z M8 7.4v3.6 M8 4.9v.1",
  fine: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z M5.2 8.2l2 2 3.6-4",
  proposal: "M2 5h7 M12.5 5H14 M2 11h2 M7.5 11H14 M10.8 3.4v3.2 M5.8 9.4v3.2",
  theme: "M8 1.8a6.2 6.2 0 1 0 0 12.4Z M8 1.8a6.2 6.2 0 0 1 0 12.4",
  clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z M8 4.6V8l2.4 1.6",
  lost: "M2 8h2.4 M6.8 8h2.4 M11.6 8H14 M4.2 4.2l7.6 7.6",
};

/** A decoration of 16 px; a word stands beside it. */
export const icon = (name) =>
  s("svg.icon", { viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));

/** An SVG graphic of a fixed size with its finding as a label. */
export const graphic = (width, height, label, ...children) => {
  const node = s("svg.graphic", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-label": label }, ...children);
  // What is inside an image is not reached: a graphic with links is a group.
  node.setAttribute("role", node.querySelector("a") ? "group" : "img");
  return node;
};

/** The pixels that a graphic in this place may use. */
export const widthOf = (node, least = 200) => Math.max(least, Math.floor(node.clientWidth || 0));

/** One of a few choices, as a group of radio buttons; `options` are [value, text] pairs. */
export const choice = (legend, name, options, value, onchange) =>
  h("fieldset.choice", h("legend", legend), h("div.options", options.map(([each, text]) =>
    h("label",
      h("input", { type: "radio", name, value: each, checked: each === value, "data-focus": `${name}=${each}`, onchange: () => onchange(each) }),
      h("span", text)))));

/** A choice with many options. */
export const picker = (legend, name, options, value, onchange) =>
  h("label.picker", h("span", legend),
    h("select", { name, "data-focus": name, onchange: (event) => onchange(event.target.value) },
      options.map(([each, text]) => h("option", { value: each, selected: each === value }, text))));

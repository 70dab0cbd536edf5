// Every graphic has its figures as a table, which is built when it is opened.
import { h } from "./dom.js";

export const figuresTable = (caption, columns, rows) => {
  const node = h("details.figures", { "data-keep": caption }, h("summary", { "data-focus": `table ${caption}` }, "Show the figures as a table"));
  node.addEventListener("toggle", () => {
    if (!node.open || node.querySelector("table")) return;
    node.append(h("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
      h("table.table.plain", h("caption.spoken", caption),
        h("thead", h("tr", columns.map((column) => h("th", { scope: "col" }, column)))),
        h("tbody", rows().map(([first, ...others]) => h("tr", h("th.keep", { scope: "row" }, first), others.map((each) => h("td", each))))))));
  });
  return node;
};

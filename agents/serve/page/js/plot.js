// Large charts: plotly.js is loaded by the first of them, and drawn in the colours of the page.

let loading = null;
const library = () => {
  loading ??= new Promise((resolve, reject) => {
    const where = document.querySelector('meta[name="driftline-plotly"]');
    if (!where.content) throw new Error("charts need the package plotly, which the server does not have");
    // Styles of maps would be refused by the policy; with an element of this name they are not made.
    if (where.dataset.mapStyles && !document.getElementById(where.dataset.mapStyles)) {
      const stead = document.createElement("meta");
      stead.id = where.dataset.mapStyles;
      document.head.append(stead);
    }
    const script = document.createElement("script");
    script.src = where.content;
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => {
      loading = null;
      reject(new Error("the chart library did not load"));
    };
    document.head.append(script);
  });
  return loading;
};

const probe = document.createElement("i");
/** The colour of a token in the theme in force. */
export const colour = (token) => {
  if (!probe.isConnected) { probe.hidden = true; document.body.append(probe); }
  probe.style.setProperty("color", `var(--${token})`);
  return getComputedStyle(probe).color;
};
export const CLEAR = "rgba(0,0,0,0)";

const still = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };

/** Draw or redraw a chart; a zoom survives as long as `layout.uirevision` does. */
export const draw = async (node, traces, layout) => {
  const plotly = await library();
  if (!node.isConnected) return;
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink-2") };
  const axis = { zeroline: false, tickcolor: colour("line"), linecolor: colour("line"), automargin: false };
  await plotly.react(node, traces, {
    font, paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, showlegend: false, hovermode: "x", dragmode: "zoom",
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line-strong"), align: "left", font: { ...font, color: colour("ink") } },
    ...layout,
    xaxis: { ...axis, showgrid: false, showline: true, ticks: "outside", ticklen: 4, showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: colour("line-strong"), ...layout.xaxis },
    yaxis: { ...axis, gridcolor: colour("grid"), nticks: 6, ...layout.yaxis },
  }, still);
};

export const hatch = (size, solidity) => ({ color: CLEAR, line: { width: 0 }, pattern: { shape: "/", size, solidity, fgcolor: colour("hatch"), bgcolor: CLEAR } });

/** Text of a record in a chart: plotly would take tags in it for markup. */
export const plain = (text) => `${text}`.replaceAll("<", "‹").replaceAll(">", "›").replaceAll("&", "＆");

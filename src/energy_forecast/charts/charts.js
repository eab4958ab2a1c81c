"use strict";
// Each chart of the page gets the figure at its index in the data: traces and layout for Plotly. Colours have the names
// of the style sheet ("--forecast"), so that a figure follows the user's colour scheme.
(function () {
  const figures = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");
  const charts = document.querySelectorAll(".chart");

  function painted(value) {
    if (typeof value === "string" && /^--[a-z0-9]+$/.test(value)) {
      return getComputedStyle(document.documentElement).getPropertyValue(value).trim();
    }
    if (Array.isArray(value)) return value.map(painted);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, painted(part)]));
  }

  function layout(wanted) {
    const whole = { font: { family: getComputedStyle(document.body).fontFamily, size: narrow.matches ? 11 : 12, color: "--muted" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 12, t: 12, b: 48 },
      hoverlabel: { bgcolor: "--card", bordercolor: "--rule", font: { color: "--ink" } }, ...wanted };
    for (const name of Object.keys(whole).filter((key) => /^[xy]axis/.test(key))) {
      whole[name] = { gridcolor: "--grid", zerolinecolor: "--muted", linecolor: "--rule", automargin: true, ...whole[name] };
    }
    return painted(whole);
  }

  const draw = () => charts.forEach((chart, place) => Plotly.react(chart, painted(figures[place].traces),
    layout(figures[place].layout), { displayModeBar: false, responsive: true }));
  draw();
  dark.addEventListener("change", draw);
})();

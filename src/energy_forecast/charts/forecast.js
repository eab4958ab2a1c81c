"use strict";
// Plotly does not support time zones. The x axis is UTC in milliseconds, so that days of 23 or 25 hours have their true
// length; ticks and readings are converted to local time here.
(function () {
  const pictures = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const narrow = window.matchMedia("(max-width: 40rem)");
  const HOUR = 3600e3, DAY = 24 * HOUR;

  // The page contains the offsets: the browser's time zone rules may be older.
  function clockOf(offsets) {
    const format = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hourCycle: "h23", weekday: "short", day: "numeric",
      month: "short", hour: "2-digit", minute: "2-digit" });
    return function (ms) {
      const part = {};
      const [, offset] = offsets.findLast(([start]) => start <= ms) || offsets[0];
      for (const { type, value } of format.formatToParts(ms + offset)) part[type] = value;
      return { hour: Number(part.hour), minute: Number(part.minute), date: part.weekday + " " + part.day + " " + part.month,
        short: part.weekday + " " + part.day, time: part.hour + ":" + part.minute };
    };
  }

  // Ticks at round local hours, with room for their text; the first tick of a local day has its date.
  function ticks(clock, from, to, width) {
    const room = (to - from) / Math.max(2, Math.floor(width / (narrow.matches ? 50 : 75)));
    const step = [1, 2, 3, 6, 12, 24].find((hours) => hours * HOUR >= room) || 24;
    const every = Math.ceil(room / DAY);
    const values = [], labels = [];
    let days = 0, before = clock(Math.floor(from / (HOUR / 4)) * (HOUR / 4) - HOUR / 4).date;
    for (let ms = Math.ceil(from / (HOUR / 4)) * (HOUR / 4); ms <= to; ms += HOUR / 4) {
      const at = clock(ms);
      const midnight = at.date !== before;
      before = at.date;
      if (midnight && days++ % every === 0) {
        values.push(ms);
        labels.push(step < 24 ? at.time + "<br>" + at.short : at.short);
      } else if (step < 24 && !midnight && at.minute === 0 && at.hour % step === 0) {
        values.push(ms);
        labels.push(at.time);
      }
    }
    return { tickvals: values, ticktext: labels };
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function traces(city) {
    const line = (part, key, name, style) => ({ type: "scatter", mode: "lines", x: part.x, y: part[key], name: name,
      line: style, hoverinfo: "none", connectgaps: false });
    const band = (part, low, high, name, fill) => [
      { ...line(part, high, name, { width: 0 }), hoverinfo: "skip" },
      { ...line(part, low, name, { width: 0 }), hoverinfo: "skip", fill: "tonexty", fillcolor: colour(fill) }];
    const all = [];
    if (city.past && city.past.low90) all.push(...band(city.past, "low90", "high90", "past 90", "pastband"));
    for (const coverage of city.intervals) {
      all.push(...band(city.forecast, "low" + coverage, "high" + coverage, coverage + " %", "band" + coverage));
    }
    if (city.past) all.push(line(city.past, "predicted", "earlier forecasts", { color: colour("past"), width: 1.75, dash: "dot" }));
    all.push(line(city.history, "value", "measured", { color: colour("measured"), width: 1.75 }));
    all.push(line(city.forecast, "predicted", "forecast", { color: colour("forecast"), width: 2.5 }));
    if (city.weather) {
      all.push({ ...line(city.weather, "value", "temperature", { color: colour("temperature"), width: 1.75 }), yaxis: "y2" });
    }
    return all;
  }

  function layout(city, clock, range, width) {
    const axis = { gridcolor: colour("grid"), zeroline: false, automargin: true, fixedrange: true,
      title: { standoff: 8, font: { size: 13, color: colour("muted") } } };
    const small = narrow.matches;
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: small ? 11 : 12, color: colour("muted") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      margin: { l: small ? 44 : 56, r: 12, t: 26, b: 48 },
      hovermode: "x", hoverdistance: -1, dragmode: touch ? false : "zoom",
      xaxis: { type: "date", range: range, anchor: city.weather ? "y2" : "y", gridcolor: colour("grid"), zeroline: false,
        showspikes: true, spikemode: "across", spikesnap: "hovered data", spikethickness: 1, spikedash: "solid",
        spikecolor: colour("muted"), fixedrange: touch, title: { text: city.axis, standoff: 10, font: { size: 13 } },
        ...ticks(clock, range[0], range[1], width) },
      yaxis: { ...axis, title: { ...axis.title, text: "Consumption, " + city.unit + " per " + city.step },
        domain: city.weather ? [0.36, 1] : [0, 1] },
      yaxis2: { ...axis, title: { ...axis.title, text: small ? "°C" : "Temperature, °C" }, domain: [0, 0.26], nticks: 4 },
      shapes: [{ type: "line", x0: city.issued, x1: city.issued, yref: "paper", y0: 0, y1: 1,
        line: { color: colour("issued"), width: 1.5, dash: "dash" } }],
      annotations: [{ x: city.issued, yref: "paper", y: 1, yanchor: "bottom", xanchor: "center", showarrow: false,
        text: "Issued " + clock(city.issued).time, font: { color: colour("ink"), size: 12 } }],
    };
  }

  // Shows the values at one time in the legend.
  function reading(section, city, clock) {
    const at = (part) => new Map(part ? part.x.map((x, i) => [x, i]) : []);
    const where = { history: at(city.history), forecast: at(city.forecast), past: at(city.past), weather: at(city.weather) };
    const number = (value) => value.toFixed(city.digits);
    const clear = () => section.querySelectorAll(".legend b").forEach((b) => { b.textContent = ""; });
    return function (ms) {
      clear();
      const line = section.querySelector(".clock");
      if (ms === null) { line.textContent = touch ? line.dataset.touch : line.dataset.mouse; return; }
      const moment = clock(ms);
      line.textContent = moment.date + ", " + moment.time + ", " + city.zone;
      for (const b of section.querySelectorAll(".legend b")) {
        const part = city[b.dataset.part];
        const i = where[b.dataset.part].get(ms);
        if (i === undefined) continue;
        const keys = b.dataset.keys.split(" ");
        if (keys.some((key) => !Number.isFinite(part[key][i]))) continue;
        b.textContent = b.dataset.part === "weather" ? part.value[i].toFixed(1) + " °C"
          : keys.map((key) => number(part[key][i])).join("–") + " " + city.unit;
      }
    };
  }

  function picture(section, city) {
    const chart = section.querySelector(".chart");
    const clock = clockOf(city.offsets);
    const end = city.forecast.x[city.forecast.x.length - 1] + city.step_ms;
    const read = reading(section, city, clock);
    const range = () => [Math.max(city.start, city.known - Number(section.querySelector(".view input:checked").value) * DAY), end];
    if (narrow.matches) section.querySelector(".view input[value='3']").checked = true;
    const draw = (wanted) => Plotly.react(chart, traces(city), layout(city, clock, wanted, chart.clientWidth - 70),
      { displayModeBar: false, responsive: true });
    draw(range());
    let busy = false;
    chart.on("plotly_relayout", function () {
      if (busy) return;
      busy = true;
      const [from, to] = chart._fullLayout.xaxis.range.map((x) => chart._fullLayout.xaxis.r2l(x));
      const wanted = ticks(clock, from, to, chart.clientWidth - 70);
      Plotly.relayout(chart, { "xaxis.tickvals": wanted.tickvals, "xaxis.ticktext": wanted.ticktext })
        .then(() => { busy = false; });
    });
    chart.on("plotly_hover", (event) => read(chart.data[event.points[0].curveNumber].x[event.points[0].pointNumber]));
    chart.on("plotly_unhover", () => read(null));
    chart.on("plotly_doubleclick", () => { draw(range()); return false; });
    section.querySelector(".view").addEventListener("change", () => draw(range()));
    dark.addEventListener("change", () => draw(range()));
    read(null);
    return () => draw(range());
  }

  const sections = [...document.querySelectorAll("section.city")];
  const drawn = new Map();
  function show(index) {
    sections.forEach((section, i) => { section.hidden = i !== index; });
    if (drawn.has(index)) drawn.get(index)();
    else drawn.set(index, picture(sections[index], pictures[index]));
  }
  for (const input of document.querySelectorAll(".cities input")) {
    input.addEventListener("change", () => show(Number(input.value)));
  }
  const chosen = document.querySelector(".cities input:checked");
  show(chosen ? Number(chosen.value) : 0);
  let width = window.innerWidth, waiting = 0;
  window.addEventListener("resize", function () {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => drawn.forEach((redraw, i) => { if (!sections[i].hidden) redraw(); }), 150);
  });
})();

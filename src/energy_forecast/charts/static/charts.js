"use strict";
// Large charts over time, with uPlot. The x axis is UTC in seconds, so that days of 23 or 25 hours have their true length;
// ticks and readings are converted to the city's time here, with offsets from the server: a browser knows other rules.
(function () {
  const HOUR = 3600, DAY = 24 * HOUR, QUARTER = 900;
  // More points than this are drawn with a thin line: a wide one takes twice as long, and hides them
  const DENSE = 5000;
  const drawn = new Map();
  const zooms = new Map();

  function clockOf(offsets) {
    const format = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hourCycle: "h23", weekday: "short", day: "numeric",
      month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
    return function (seconds) {
      const part = {};
      const [, offset] = offsets.findLast(([start]) => start <= seconds) || offsets[0];
      for (const { type, value } of format.formatToParts((seconds + offset) * 1000)) part[type] = value;
      return { hour: Number(part.hour), minute: Number(part.minute), day: part.weekday + " " + part.day + " " + part.month,
        short: part.weekday + " " + part.day, date: part.day + " " + part.month, time: part.hour + ":" + part.minute,
        offset: "UTC" + (offset < 0 ? "\u2212" : "+") + Math.floor(Math.abs(offset) / HOUR)
          + (offset % HOUR ? ":" + String(Math.abs(offset) % HOUR / 60).padStart(2, "0") : "") };
    };
  }

  // Ticks at round local hours; the first tick of a local day has its date. For long spans, days only.
  function ticks(clock, offsets, from, to, width) {
    const room = (to - from) / Math.max(2, Math.floor(width / 44));
    const step = [1, 2, 3, 6, 12].find((hours) => hours * HOUR >= room);
    const every = [1, 2, 3, 4, 7, 14, 28, 91, 182, 364].find((days) => days * DAY >= room) || 364;
    const values = [], labels = [];
    let day = null, days = 0, place = 0;
    // By quarter hours: local midnight is at half past in some zones. Texts only for ticks, since a format takes microseconds
    for (let at = Math.ceil(from / QUARTER) * QUARTER - QUARTER; at <= to; at += QUARTER) {
      while (place + 1 < offsets.length && offsets[place + 1][0] <= at) place += 1;
      const local = at + offsets[place][1], today = Math.floor(local / DAY);
      const isNew = day !== null && today !== day;
      if (isNew) days += 1;
      day = today;
      if (at < from) continue;
      const isTick = step === undefined ? isNew && days % every === 0 : isNew || local % (step * HOUR) === 0;
      if (!isTick) continue;
      const text = clock(at);
      values.push(at);
      if (step === undefined) labels.push(every > 7 ? text.date : text.short);
      else labels.push(isNew ? text.time + "\n" + text.short : text.time);
    }
    return { values, labels };
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function number(value, digits) {
    return value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  // The area between two lines. uPlot's own draws over missing values.
  function band(u, low, high, fill) {
    const { ctx } = u, x = u.data[0];
    ctx.fillStyle = colour(fill);
    let start = null;
    for (let i = 0; i <= x.length; i++) {
      const isKnown = i < x.length && low[i] !== null && high[i] !== null;
      if (isKnown && start === null) start = i;
      if (!isKnown && start !== null) {
        ctx.beginPath();
        for (let k = start; k < i; k++) ctx.lineTo(u.valToPos(x[k], "x", true), u.valToPos(high[k], "y", true));
        for (let k = i - 1; k >= start; k--) ctx.lineTo(u.valToPos(x[k], "x", true), u.valToPos(low[k], "y", true));
        ctx.fill();
        start = null;
      }
    }
  }

  function drawBands(u, panel) {
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    u.ctx.clip();
    for (const one of panel.intervals) band(u, one.low, one.high, one.colour);
    u.ctx.restore();
  }

  function drawMarks(u, data, isFirst) {
    const { ctx } = u, ratio = devicePixelRatio, taken = [];
    ctx.save();
    ctx.font = 12 * ratio + "px system-ui, sans-serif";
    for (const one of data.marks) {
      if (one.x < u.scales.x.min || one.x > u.scales.x.max) continue;
      const x = Math.round(u.valToPos(one.x, "x", true));
      ctx.strokeStyle = colour("issued");
      ctx.lineWidth = 1.5 * ratio;
      ctx.setLineDash([5 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, u.bbox.top);
      ctx.lineTo(x, u.bbox.top + u.bbox.height);
      ctx.stroke();
      // Two labels must not be on top of each other
      if (!isFirst || taken.some((other) => Math.abs(other - x) < 90 * ratio)) continue;
      taken.push(x);
      ctx.fillStyle = colour("ink");
      ctx.textAlign = x > u.bbox.left + u.bbox.width * 0.8 ? "right" : "left";
      ctx.fillText(one.label, x, u.bbox.top - 5 * ratio);
    }
    ctx.restore();
  }

  function range(panel) {
    return function (u, min, max) {
      let low = min, high = max;
      const x = u.data[0], { min: from, max: to } = u.scales.x;
      for (const one of panel.intervals) {
        for (let i = 0; i < x.length; i++) {
          if (from !== null && (x[i] < from || x[i] > to)) continue;
          if (one.low[i] !== null && (low === null || one.low[i] < low)) low = one.low[i];
          if (one.high[i] !== null && (high === null || one.high[i] > high)) high = one.high[i];
        }
      }
      if (low === null) return [0, 1];
      const room = (high - low || Math.abs(high) || 1) * 0.05;
      return [low - room, high + room];
    };
  }

  function options(chart, panel, place, width) {
    const { data, clock } = chart, isLast = place === data.panels.length - 1, isFirst = place === 0;
    const axis = { stroke: () => colour("muted"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { show: false },
      font: "12px system-ui, sans-serif" };
    let labels = [];
    return {
      width, height: panel.height, legend: { show: false }, padding: [isFirst ? 18 : 8, 22, 0, 0],
      cursor: { sync: { key: chart.id }, drag: { x: true, y: false, setScale: true }, y: false, focus: { prox: -1 },
        points: { size: 7 } },
      scales: { x: { time: false }, y: { range: range(panel) } },
      axes: [
        { ...axis, size: isLast ? 44 : 8, splits: (u, i, min, max) => {
            const found = ticks(clock, data.offsets, min, max, u.bbox.width / devicePixelRatio);
            labels = found.labels;
            return found.values;
          }, values: () => (isLast ? labels : labels.map(() => "")) },
        { ...axis, size: 62, label: panel.title, labelSize: 18, labelFont: "12px system-ui, sans-serif", labelGap: 0,
          values: (u, splits) => splits.map((v) => (v === null ? "" : v.toLocaleString("en-GB"))) },
      ],
      series: [{}, ...panel.traces.map((one) => ({ label: one.name, stroke: () => colour(one.colour), width: data.x.length > DENSE ? 1 : 2,
        dash: one.dashed ? [6, 4] : undefined, spanGaps: false, points: { show: false } }))],
      hooks: { drawClear: [(u) => drawBands(u, panel)], draw: [(u) => drawMarks(u, data, isFirst)],
        setCursor: [(u) => { if (u.cursor.event || u.cursor.byKey) read(chart, u.cursor.idx); }],
        setScale: [(u, key) => { if (key === "x" && isFirst) zoomed(chart, u); }] },
    };
  }

  function zoomed(chart, u) {
    const { min, max } = u.scales.x, x = chart.data.x;
    if (min === null) return;
    if (min > x[0] || max < x[x.length - 1]) zooms.set(chart.id, [min, max]); else zooms.delete(chart.id);
    for (const other of chart.plots) {
      if (other !== u && (other.scales.x.min !== min || other.scales.x.max !== max)) other.setScale("x", { min, max });
    }
  }

  // The values at one time, in the legend and as a line of text that screen readers announce.
  function read(chart, i) {
    const out = chart.element.querySelector(".readout");
    const values = chart.element.querySelectorAll(".legend b");
    if (i === null || i === undefined) {
      out.textContent = chart.hint;
      values.forEach((b) => { b.textContent = ""; });
      return;
    }
    const local = chart.clock(chart.data.x[i]);
    const words = [];
    let place = 0;
    for (const panel of chart.data.panels) {
      const show = (name, text) => {
        values[place++].textContent = text;
        if (text) words.push(name + " " + text);
      };
      for (const one of panel.traces) {
        show(one.name, one.values[i] === null ? "" : number(one.values[i], panel.digits) + " " + panel.unit);
      }
      for (const one of panel.intervals) {
        show(one.name, one.low[i] === null || one.high[i] === null ? ""
          : number(one.low[i], panel.digits) + "\u2013" + number(one.high[i], panel.digits) + " " + panel.unit);
      }
    }
    out.textContent = local.day + ", " + local.time + " (" + chart.data.zone + ", " + local.offset + ")" + (chart.byKey ? ": " + words.join(", ") : "");
  }

  function legend(chart) {
    const list = chart.element.querySelector(".legend");
    list.replaceChildren();
    for (const panel of chart.data.panels) {
      for (const one of [...panel.traces, ...panel.intervals]) {
        const item = document.createElement("li");
        const isLine = one.values !== undefined;
        const key = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        for (const [name, value] of [["class", "key"], ["width", 22], ["height", 12], ["aria-hidden", "true"]]) key.setAttribute(name, value);
        const sign = document.createElementNS("http://www.w3.org/2000/svg", isLine ? "path" : "rect");
        const given = isLine ? [["d", "M0,6L22,6"], ["stroke-width", 2.5], ["class", "line stroke-" + one.colour + (one.dashed ? " dashed" : "")]]
          : [["width", 22], ["height", 12], ["rx", 2], ["class", "fill-" + one.colour]];
        for (const [name, value] of given) sign.setAttribute(name, value);
        key.append(sign);
        item.append(key, " " + one.name + " ", document.createElement("b"));
        list.append(item);
      }
    }
  }

  function keyboard(chart) {
    chart.element.addEventListener("keydown", function (event) {
      const x = chart.data.x, u = chart.plots[0];
      const inView = (i) => x[i] >= u.scales.x.min && x[i] <= u.scales.x.max;
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -24, PageDown: 24 };
      let i = chart.place ?? x.findIndex((_, k) => inView(k)) - 1;
      if (event.key === "Escape") { chart.place = null; chart.byKey = false; zoomOut(chart); read(chart, null); return; }
      if (event.key === "Home") i = x.findIndex((_, k) => inView(k));
      else if (event.key === "End") i = x.findLastIndex((_, k) => inView(k));
      else if (event.key in steps) i += steps[event.key];
      else return;
      event.preventDefault();
      chart.place = Math.min(x.length - 1, Math.max(0, i));
      chart.byKey = true;
      for (const plot of chart.plots) plot.setCursor({ left: plot.valToPos(x[chart.place], "x"), top: 10 }, false);
      read(chart, chart.place);
    });
    chart.element.addEventListener("mousemove", () => { chart.byKey = false; });
    chart.element.addEventListener("mouseleave", () => { chart.place = null; read(chart, null); });
  }

  // A slider shows one of several forecasts. All of them are on the page, so nothing is loaded.
  function player(chart) {
    const box = chart.element.querySelector(".player");
    if (!box) return;
    const button = box.querySelector("button"), slider = box.querySelector("input"), panel = chart.data.panels[0];
    const trace = panel.traces[panel.traces.length - 1], interval = panel.intervals[panel.intervals.length - 1];
    const spread = (frame, values) => {
      const out = new Array(chart.data.x.length).fill(null);
      values.forEach((value, i) => { out[frame.first + i] = value; });
      return out;
    };
    const show = () => {
      const frame = chart.data.frames[Number(slider.value)];
      trace.values = spread(frame, frame.predicted);
      interval.low = spread(frame, frame.low);
      interval.high = spread(frame, frame.high);
      chart.data.marks[0].x = frame.issued;
      box.querySelector("output").textContent = frame.label;
      slider.setAttribute("aria-valuetext", frame.label);
      chart.plots[0].setData([chart.data.x, ...panel.traces.map((one) => one.values)], false);
      for (const plot of chart.plots) plot.redraw(false, true);
    };
    const stop = () => { clearInterval(chart.timer); chart.timer = null; button.textContent = "Play"; };
    button.addEventListener("click", () => {
      if (chart.timer) { stop(); return; }
      if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
      button.textContent = "Pause";
      chart.timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        show();
        if (Number(slider.value) >= Number(slider.max)) stop();
      }, 400);
    });
    slider.addEventListener("input", () => { stop(); show(); });
    for (const name of ["keydown", "mousemove"]) box.addEventListener(name, (event) => event.stopPropagation());
    show();
  }

  function zoomOut(chart) {
    const x = chart.data.x;
    for (const plot of chart.plots) plot.setScale("x", { min: x[0], max: x[x.length - 1] });
  }

  function draw(element) {
    const data = JSON.parse(element.querySelector("script").textContent);
    const touch = matchMedia("(pointer: coarse)").matches;
    const chart = { element, data, id: element.id, clock: clockOf(data.offsets), plots: [], place: null, byKey: false,
      hint: touch ? "Touch the chart for its values." : "Point at the chart for its values, drag to zoom, double-click to zoom out; or use the arrow keys." };
    element.classList.add("drawn");
    const panels = element.querySelector(".panels");
    panels.replaceChildren();
    legend(chart);
    data.panels.forEach((panel, place) => {
      const target = document.createElement("div");
      panels.append(target);
      const values = [data.x, ...panel.traces.map((one) => one.values)];
      chart.plots.push(new uPlot(options(chart, panel, place, panels.clientWidth), values, target));
    });
    const zoom = zooms.get(chart.id);
    if (zoom) for (const plot of chart.plots) plot.setScale("x", { min: zoom[0], max: zoom[1] });
    keyboard(chart);
    player(chart);
    read(chart, null);
    chart.observer = new ResizeObserver(() => {
      for (const plot of chart.plots) if (plot.width !== panels.clientWidth) plot.setSize({ width: panels.clientWidth, height: plot.height });
    });
    chart.observer.observe(panels);
    drawn.set(element, chart);
    return chart;
  }

  function removeOld() {
    for (const [element, chart] of drawn) {
      if (element.isConnected) continue;
      chart.observer.disconnect();
      clearInterval(chart.timer);
      chart.plots.forEach((plot) => plot.destroy());
      drawn.delete(element);
    }
  }

  function drawAll() {
    removeOld();
    document.querySelectorAll(".time-chart").forEach((element) => { if (!drawn.has(element)) draw(element); });
    document.querySelectorAll("form.controls select, form.controls input").forEach((one) => {
      one.onchange = () => one.form.requestSubmit();
    });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const chart of drawn.values()) chart.plots.forEach((plot) => plot.redraw(false, true));
  });

  // A refresh waits while the page is hidden, a form is used or text is selected, and keeps open tables open.
  let open = [];
  document.addEventListener("htmx:before:request", (event) => {
    const isBusy = document.hidden || document.activeElement?.closest("form, .scroll, .time-chart") || String(getSelection());
    if (isBusy) event.preventDefault();
    open = [...document.querySelectorAll("details[open]")].map((one) => one.id);
  });
  document.addEventListener("htmx:after:swap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    drawAll();
  });

  window.energyForecast = { drawn, draw, drawAll, clockOf, number };
  drawAll();
})();

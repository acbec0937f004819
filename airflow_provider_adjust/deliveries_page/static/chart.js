// Two charts of the table of days: delivered, and below it rejected, which needs a scale of its own.
"use strict";

(() => {
  const place = document.getElementById("chart");
  const bodies = [...document.querySelectorAll("#by-day tbody")].reverse();
  if (!place || !bodies.length || typeof uPlot === "undefined") return;

  const DAY = 86400;
  const seconds = (body) => Date.parse(`${body.dataset.day}T00:00:00Z`) / 1000;
  const byTime = new Map(bodies.map((body) => [seconds(body), body]));
  const times = [];
  for (let time = seconds(bodies[0]); time <= seconds(bodies.at(-1)); time += DAY) times.push(time);
  const series = (name) => times.map((time) => Number(byTime.get(time)?.dataset[name] ?? 0));
  const data = { delivered: series("delivered"), rejected: series("rejected") };
  const dateOf = (time) => new Date(time * 1000).toISOString().slice(0, 10);
  const say = (n) =>
    `${dateOf(times[n])}: delivered ${data.delivered[n].toLocaleString("en")}, rejected ${data.rejected[n].toLocaleString("en")}`;

  const said = document.createElement("p");
  said.className = "said";
  let chosen = times.length - 1;
  let charts = [];

  const choose = (n) => {
    chosen = Math.min(Math.max(n, 0), times.length - 1);
    place.setAttribute("aria-valuenow", chosen);
    place.setAttribute("aria-valuetext", say(chosen));
    said.textContent = say(chosen);
  };
  const follow = (address) => {
    if (address) location.assign(address);
  };
  const open = (what) => follow(byTime.get(times[chosen])?.dataset[what]);

  const draw = (name, title, height, opens) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (variable) => style.getPropertyValue(variable).trim();
    const axis = { stroke: colour("--text"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const chart = new uPlot(
      {
        width: place.clientWidth,
        height,
        title,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false }, sync: { key: "adjust-days" } },
        tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
        scales: { x: { range: (_, from, to) => [from - DAY / 2, to + DAY / 2] }, y: { range: (_, __, most) => [0, Math.max(most, 1) * 1.1] } },
        axes: [
          { ...axis, incrs: [DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY], values: (_, ticks) => ticks.map((tick) => dateOf(tick).slice(5)) },
          { ...axis, size: 70, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6], values: (_, ticks) => ticks.map((tick) => tick.toLocaleString("en")) },
        ],
        series: [{}, { label: title, fill: colour(`--${name}`), stroke: colour(`--${name}`), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 48] }) }],
        hooks: { setCursor: [(chart) => chart.cursor.idx != null && choose(chart.cursor.idx)] },
      },
      [times, data[name]],
      place,
    );
    chart.over.addEventListener("click", () => open(opens));
    return chart;
  };

  const drawAll = () => {
    for (const chart of charts) chart.destroy();
    charts = [draw("delivered", "Delivered", 180, "runs"), draw("rejected", "Rejected", 130, "rejects")];
    place.append(said);
  };
  const point = (n) => {
    choose(n);
    for (const chart of charts) chart.setCursor({ left: chart.valToPos(times[chosen], "x"), top: 1 }, false);
  };

  place.hidden = false;
  place.setAttribute("aria-valuemin", 0);
  place.setAttribute("aria-valuemax", times.length - 1);
  drawAll();
  choose(chosen);
  place.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: chosen - 1, ArrowDown: chosen - 1, ArrowRight: chosen + 1, ArrowUp: chosen + 1, Home: 0, End: times.length - 1 }[event.key];
    if (to !== undefined) point(to);
    else if (event.key === "Enter") open(event.shiftKey ? "rejects" : "runs");
    else return;
    event.preventDefault();
  });
  document.addEventListener("themechange", drawAll);
  new ResizeObserver(() => charts.forEach((chart) => chart.setSize({ width: place.clientWidth, height: chart.height }))).observe(place);
})();

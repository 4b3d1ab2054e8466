"use strict";

/* The status page. Once a second it asks for what is new, adds it to what it
 * holds of the last ten minutes, and draws everything again.
 *
 *   /status.json    what SIDECAR STATUS says, now
 *   /history.json   the last minutes a row a second, then what has come since
 *   /keys.json      the hottest keys, hashed; every fifth second
 */

const EVERY_MS = 1000;
const TIMEOUT_MS = 2000;
const KEYS_EVERY = 5;
const KEPT_S = 600;
const LEAST_S = 120; /* of a time axis, however young the process */
const MINUTE = 60;

const RUNGS = ["memory", "redis", "postgres", "stale", "free", "error"];
const BACKENDS = ["redis", "postgres"];
const BREAKER = ["closed", "half-open", "open", "not configured"];

/* The promises: beyond `goal` it is fair, beyond `alert` it is bad. */
const TILES = [
	{ name: "Hit rate", goal: "goal > 95 %", value: m => m.hitRate, text: percent,
	  level: v => v < 0.9 ? "bad" : v < 0.95 ? "fair" : "good" },
	{ name: "p50", goal: "half are faster", value: m => m.p50, text: duration },
	{ name: "p95", goal: "goal < 100 ms", value: m => m.p95, text: duration,
	  level: v => v > 200000 ? "bad" : v > 100000 ? "fair" : "good" },
	{ name: "p99", goal: "one in 100 is slower", value: m => m.p99, text: duration },
	{ name: "Errors", goal: "goal < 0.1 %", value: m => m.errorRate, text: percent,
	  level: v => v > 0.01 ? "bad" : v > 0.001 ? "fair" : "good" },
	{ name: "Answers/s", goal: "mean of the minute", value: m => m.all / m.seconds, text: count },
	{ name: "Limited/s", goal: "refused by limits", value: m => m.limited / m.seconds, text: count },
	{ name: "Journal", goal: "keys Redis has to drop", value: m => m.journal, text: count,
	  level: v => v > 100000 ? "bad" : v > 0 ? "fair" : "good" },
];

/* Told elsewhere on the page. */
const SHOWN = new Set(["version", "uptime_seconds", "redis", "redis_breaker", "redis_last_failure",
	"postgres", "postgres_breaker", "postgres_last_failure", "hit_rate"]);

/* ---- words and figures ---- */

const byId = id => document.getElementById(id);

function make(tag, name, text) {
	const made = document.createElement(tag);
	if (name) made.className = name;
	if (text !== undefined) made.textContent = text;
	return made;
}

function percent(share) {
	if (share > 0 && share < 0.0001) return "< 0.01 %";
	const digits = share > 0.9995 || share === 0 ? 0 : share > 0.1 ? 1 : 2;
	return (share * 100).toFixed(digits) + " %";
}

function duration(us) {
	const [number, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1000, "ms"] : [us / 1e6, "s"];
	return (number < 10 && unit !== "µs" ? number.toFixed(1).replace(/\.0$/, "") : Math.round(number)) + " " + unit;
}

function count(number) {
	if (number >= 1e6) return (number / 1e6).toPrecision(3) + " M";
	if (number > 0 && number < 0.1) return "< 0.1";
	return number >= 100 || Number.isInteger(number)
		? Math.round(number).toLocaleString("en") : number.toFixed(1);
}

function bytes(number) {
	const units = ["B", "kB", "MB", "GB"];
	let i = 0;
	while (number >= 1000 && i < units.length - 1) { number /= 1000; i++; }
	return (i === 0 ? number : number.toFixed(1)) + " " + units[i];
}

/* The two largest units that are not 0: "3 h 12 min". */
function age(seconds) {
	const parts = [];
	for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
		const number = Math.floor(seconds / size);
		seconds %= size;
		if (number > 0) parts.push(number + " " + unit);
	}
	return parts.slice(0, 2).join(" ") || "0 s";
}

/* ---- what is held ---- */

const held = { rows: [], next: 0, columns: null, minute: {} };

function take(history) {
	/* Another life, or more missed than the server holds: begin again. */
	if (history.next < held.next || held.columns === null)
		held.rows = [];
	held.columns = Object.fromEntries(history.columns.map((name, i) => [name, i]));
	held.rows.push(...history.rows);
	held.rows.splice(0, Math.max(0, held.rows.length - KEPT_S));
	held.next = history.next;
	held.minute = history.minute;
}

const column = name => held.rows.map(row => row[held.columns[name]]);

function lastMinute() {
	const rows = held.rows.slice(-MINUTE);
	const sum = name => rows.reduce((all, row) => all + row[held.columns[name]], 0);
	const rungs = Object.fromEntries(RUNGS.map(name => [name, sum(name)]));
	const all = RUNGS.reduce((total, name) => total + rungs[name], 0);
	const [hits, misses] = [sum("hits"), sum("misses")];
	return {
		rungs, all, seconds: Math.max(1, rows.length),
		limited: sum("limited_per_user") + sum("limited_per_ip") + sum("limited_throttle"),
		journal: rows.length ? rows[rows.length - 1][held.columns.journal] : NaN,
		hitRate: hits + misses > 0 ? hits / (hits + misses) : NaN,
		errorRate: all > 0 ? rungs.error / all : NaN,
		p50: held.minute.p50_us ?? NaN, p95: held.minute.p95_us ?? NaN,
		p99: held.minute.p99_us ?? NaN,
	};
}

/* ---- the verdict ---- */

function verdict(status, minute) {
	const down = BACKENDS.filter(name => status[name] === "down");
	const reason = name => status[name + "_breaker"].includes("forced")
		? "forced open" : status[name + "_last_failure"];
	const copies = "Copies answer as long as they last, then the free tier.";
	if (status.redis === "down" && status.postgres !== "up")
		return ["bad", down.length === 2 ? "Redis and Postgres are down" : "Redis is down",
			`${copies} Redis: ${reason("redis")}.` +
			(down.length === 2 ? ` Postgres: ${reason("postgres")}.` : "")];
	if (minute.errorRate > 0.01)
		return ["bad", `${percent(minute.errorRate)} of answers are errors`,
			down.length ? `${down[0]} is down: ${reason(down[0])}.` : ""];
	if (status.redis === "down")
		return ["fair", "Redis is down: " + reason("redis"), `Memory and Postgres answer mapped keys.`];
	if (status.postgres === "down")
		return ["fair", "Postgres is down: " + reason("postgres"),
			`Memory and Redis answer; what they lack comes from copies or the free tier.`];
	if (minute.p95 > 200000)
		return ["bad", "Answers are slow", `95 % take up to ${duration(minute.p95)}.`];
	const missed = TILES.filter(tile => tile.goal.startsWith("goal") && ["fair", "bad"].includes(tile.level(tile.value(minute))));
	if (missed.length && minute.all / minute.seconds >= 1)
		return ["fair", "Both backends are well; a goal is missed",
			missed.map(tile => `${tile.name} ${tile.text(tile.value(minute))} (${tile.goal})`).join(", ") + "."];
	if (BACKENDS.some(name => status[name] === "connecting"))
		return ["fair", "Connecting", ""];
	return ["good", "All is well",
		minute.rungs.memory > 0 ? `Memory gave ${percent(minute.rungs.memory / minute.all)} of the last minute's answers.` : ""];
}

function drawVerdict(status, minute) {
	const [level, title, text] = verdict(status, minute);
	byId("verdict").dataset.level = level;
	byId("verdict-title").textContent = title;
	byId("verdict-text").textContent = text;
	document.title = (level === "good" ? "" : title + " · ") + "sidecar";
}

/* ---- the ladder ---- */

function backendState(status, name) {
	const breaker = status[name + "_breaker"];
	const note = status[name] === "down" || breaker !== "closed"
		? `breaker ${breaker}${status[name + "_last_failure"] ? ": " + status[name + "_last_failure"] : ""}`
		: "";
	return [status[name], note];
}

const STATES = {
	memory: status => ["up", `${count(status.entries)} entries, ${bytes(status.bytes)}`],
	redis: status => {
		const [state, note] = backendState(status, "redis");
		return [state, note || (state === "up" ? `coherence: ${status.coherence}` : "")];
	},
	postgres: status => backendState(status, "postgres"),
	stale: (status, minute) => [minute.rungs.stale > 0 ? "answering" : "idle", "copies past their ttl"],
	free: (status, minute) => [minute.rungs.free > 0 ? "answering" : "idle", "what the map says"],
	error: (status, minute) => [minute.rungs.error > 0 ? "failing" : "idle", "keys without map and copy"],
};

const rungRows = {};

function makeLadder() {
	for (const name of RUNGS) {
		const row = make("li");
		row.dataset.rung = name;
		const parts = {
			swatch: make("span", `swatch of-${name}`), rung: make("span", "rung", name),
			badge: make("span", "badge"), track: make("span", "track"), share: make("span", "share"),
			rate: make("span", "rate"), note: make("span", "note"),
		};
		parts.bar = make("div", `bar of-${name}`);
		parts.track.append(parts.bar);
		row.append(parts.swatch, parts.rung, parts.badge, parts.track, parts.share, parts.rate, parts.note);
		byId("ladder").append(row);
		rungRows[name] = { row, ...parts };
	}
}

function drawLadder(status, minute) {
	for (const name of RUNGS) {
		const parts = rungRows[name];
		const [state, note] = STATES[name](status, minute);
		const share = minute.all > 0 ? minute.rungs[name] / minute.all : 0;
		parts.row.dataset.state = state;
		parts.badge.textContent = state;
		parts.note.textContent = parts.note.title = note;
		parts.bar.style.width = share > 0 ? Math.max(1.5, share * 100) + "%" : "0";
		parts.share.textContent = minute.all > 0 ? percent(share) : "–";
		parts.rate.textContent = minute.rungs[name] > 0 ? count(minute.rungs[name] / minute.seconds) + "/s" : "";
	}
}

/* ---- tiles ---- */

const tiles = [];

function makeTiles() {
	for (const tile of TILES) {
		const box = make("div", "tile");
		const figure = make("div", "figure", "–");
		box.append(make("div", "name", tile.name), figure, make("div", "goal", tile.goal));
		byId("tiles").append(box);
		tiles.push({ ...tile, box, figure });
	}
}

function drawTiles(minute) {
	for (const tile of tiles) {
		const value = tile.value(minute);
		tile.figure.textContent = Number.isNaN(value) ? "–" : tile.text(value);
		tile.box.dataset.level = tile.level && !Number.isNaN(value) ? tile.level(value) : "good";
	}
}

/* ---- charts ---- */

const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const wash = (name, share) => colour(name) + Math.round(share * 255).toString(16).padStart(2, "0");

const clock = seconds => new Date(seconds * 1000).toLocaleTimeString("en-GB",
	seconds % MINUTE ? {} : { hour: "2-digit", minute: "2-digit" });

function axes(text, more) {
	const common = { stroke: colour("soft"), font: "12px system-ui, sans-serif",
		grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
	return [{ ...common, grid: { show: false }, size: 30, space: 70, values: (chart, ticks) => ticks.map(clock) },
		{ ...common, size: 62, values: (chart, ticks) => ticks.map(text), ...more }];
}

/* Of a logarithmic axis, the decades alone. */
function decades(chart, axis, low, high) {
	const found = [];
	for (let tick = low; tick <= high * 1.01; tick *= 10) found.push(tick);
	return found;
}

/* In the legend: what is under the cursor, and without one the newest. */
const newest = (chart, series) => chart.data[series].findLast(value => value !== null) ?? null;

const told = text => (chart, value, series) => {
	const shown = chart.cursor.idx === null || chart.cursor.idx === undefined ? newest(chart, series) : value;
	return shown === null ? "–" : text(shown);
};

/* Each rung lies on those below it: what is drawn is the sum, what is told its own. The highest
 * comes first, and the next is painted over it. */
function stacked() {
	const order = [...RUNGS].reverse();
	const own = order.map(column);
	const sums = own.map((_, i) => own[i].map((_, second) =>
		own.slice(i).reduce((sum, values) => sum + values[second], 0)));
	return { own, sums };
}

const CHARTS = {
	"chart-answers": {
		data: () => stacked().sums,
		options: () => ({
			series: [...RUNGS].reverse().map((name, i) => ({
				label: name, stroke: colour(name), fill: colour(name), width: 0, points: { show: false },
				/* Its own, not the sum that is drawn. */
				value: (chart, _, series, second) =>
					count(held.rows[second ?? held.rows.length - 1]?.[held.columns[name]] ?? 0),
			})),
			axes: axes(count),
			scales: { y: { range: (chart, low, high) => [0, Math.max(1, high * 1.08)] } },
		}),
	},
	"chart-times": {
		data: () => ["p50_us", "p95_us", "p99_us"].map(name => column(name).map(us => us === null ? null : Math.max(1, us))),
		options: () => ({
			series: [["p50", "memory"], ["p95", "redis"], ["p99", "postgres"]].map(([label, name]) => ({
				label, stroke: colour(name), width: 1.5, points: { show: false }, spanGaps: true,
				value: told(duration),
			})),
			axes: axes(duration, { splits: decades }),
			scales: { y: { distr: 3, range: (chart, low, high) => low === null ? [1, 1000]
				: [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.01))] } },
		}),
	},
	"chart-hits": {
		data: () => {
			const [hits, misses] = [column("hits"), column("misses")];
			return [hits.map((n, i) => n + misses[i] > 0 ? n / (n + misses[i]) * 100 : null)];
		},
		options: () => ({
			series: [{ label: "hit rate", stroke: colour("memory"), fill: wash("memory", 0.15), width: 1.5,
				points: { show: false }, spanGaps: true,
				value: told(share => percent(share / 100)) }],
			axes: axes(share => share + " %"),
			scales: { y: { range: [0, 100] } },
		}),
	},
};

const charts = {};

function makeChart(id) {
	const box = byId(id);
	const options = CHARTS[id].options();
	charts[id]?.destroy();
	charts[id] = new uPlot({
		width: box.clientWidth, height: box.clientWidth < 420 ? 180 : 210,
		padding: [8, 22, 0, 0],
		series: [{}, ...options.series], axes: options.axes,
		scales: { x: { range: () => visible() }, ...options.scales },
		cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: "time" } },
	}, [column("time"), ...CHARTS[id].data()], box);
}

/* The time that all axes show: what is held, up to now. */
const span = () => Math.max(LEAST_S, held.rows.length);

function visible() {
	const end = held.rows.length ? held.rows[held.rows.length - 1][0] : Date.now() / 1000;
	return [end - span(), end];
}

function drawCharts() {
	for (const id of Object.keys(CHARTS)) {
		if (charts[id]) charts[id].setData([column("time"), ...CHARTS[id].data()]);
		else makeChart(id);
	}
}

function redrawCharts() {
	if (held.columns !== null) Object.keys(CHARTS).forEach(makeChart);
}

/* ---- breakers ---- */

const SVG = "http://www.w3.org/2000/svg";

/* [{state, from, to}]: runs of one state, in seconds of the window. */
function runs(name) {
	const [start] = visible();
	const found = [];
	for (const row of held.rows) {
		const state = row[held.columns[name + "_state"]], from = row[0] - 1 - start;
		const last = found[found.length - 1];
		if (last && last.state === state && from - last.to < 2) last.to = from + 1;
		else found.push({ state, from, to: from + 1 });
	}
	return found;
}

function makeTimeline() {
	for (const name of BACKENDS) {
		const lane = make("div", "lane"), svg = document.createElementNS(SVG, "svg");
		svg.setAttribute("preserveAspectRatio", "none");
		svg.setAttribute("role", "img");
		svg.id = "lane-" + name;
		lane.append(make("span", "", name), svg);
		byId("timeline").append(lane);
	}
	const scale = make("div", "scale");
	scale.append(make("span"), make("span"), make("span", "", "now"));
	byId("timeline").append(scale);
}

function drawTimeline() {
	const marks = document.querySelectorAll("#timeline .scale span");
	marks[0].textContent = age(span()) + " ago";
	marks[1].textContent = age(span() / 2) + " ago";
	for (const name of BACKENDS) {
		const found = runs(name);
		const bars = found.map(run => {
			const bar = document.createElementNS(SVG, "rect"), title = document.createElementNS(SVG, "title");
			for (const [attribute, value] of Object.entries({ x: run.from, width: run.to - run.from, y: 0, height: 1 }))
				bar.setAttribute(attribute, value);
			bar.setAttribute("class", "state-" + run.state);
			title.textContent = `${BREAKER[run.state]} for ${age(run.to - run.from)}`;
			bar.append(title);
			return bar;
		});
		byId("lane-" + name).setAttribute("viewBox", `0 0 ${span()} 1`);
		byId("lane-" + name).replaceChildren(...bars);
		byId("lane-" + name).setAttribute("aria-label",
			found.map(run => `${BREAKER[run.state]} for ${age(run.to - run.from)}`).join(", then "));
	}
}

/* ---- keys, and all that has no place of its own ---- */

function drawKeys(keys) {
	const rows = keys.map(key => {
		const row = make("tr");
		row.append(make("td", "", key.key), make("td", "", count(key.hits)), make("td", "", bytes(key.bytes)));
		return row;
	});
	if (rows.length === 0) {
		const row = make("tr"), cell = make("td", "none", "nothing in memory yet");
		cell.colSpan = 3;
		row.append(cell);
		rows.push(row);
	}
	document.querySelector("#keys tbody").replaceChildren(...rows);
}

function factText(name, value) {
	if (value === "") return "–";
	if (name.endsWith("bytes")) return bytes(value);
	return typeof value === "number" ? count(value) : value;
}

function drawFacts(status) {
	const lines = [];
	for (const [name, value] of Object.entries(status)) {
		if (!SHOWN.has(name))
			lines.push(make("dt", "", name.replaceAll("_", " ")), make("dd", "", factText(name, value)));
	}
	byId("facts").replaceChildren(...lines);
	byId("about").textContent = `${status.version} · up ${age(status.uptime_seconds)}`;
}

/* ---- once a second ---- */

async function ask(path) {
	const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
	if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
	return answer.json();
}

let turns = 0;

async function turn() {
	const wantsKeys = turns++ % KEYS_EVERY === 0;
	try {
		const [status, history, keys] = await Promise.all([
			ask("status.json"), ask("history.json?since=" + held.next), wantsKeys ? ask("keys.json") : null]);
		take(history);
		const minute = lastMinute();
		drawVerdict(status, minute);
		drawLadder(status, minute);
		drawTiles(minute);
		drawTimeline();
		drawFacts(status);
		if (keys) drawKeys(keys);
		drawCharts();
		byId("live").dataset.live = "yes";
		byId("live-text").textContent = "live";
	} catch (problem) {
		byId("live").dataset.live = "no";
		byId("live-text").textContent = "no answer from the sidecar";
		console.error(problem);
	}
	setTimeout(turn, EVERY_MS);
}

makeLadder();
makeTiles();
makeTimeline();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawCharts);
let resizing;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redrawCharts, 150); });
turn();

'use strict';
(() => {
const COLORS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#8f8f8f'];
/** Characters of a text that are shown at first. */
const SHORT = 4000;
/** Completions that are listed at first, and more each time. */
const LISTED = 40;

const element = id => document.getElementById(id);
/** A new element with a class and children; texts become text nodes, never markup. */
function make(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
/** Whether the page has no data of its own, but a server that has. */
const served = !element('data-runs');
/** A value by its name, which is compressed JSON in the page or on the server. */
async function load(...name) {
  let compressed;
  if (served) {
    const response = await fetch(`/data/${name.join('/')}`);
    if (!response.ok) throw new Error(await response.text());
    compressed = response.body;
  } else {
    const bytes = Uint8Array.from(atob(element(`data-${name.join('-')}`).textContent), c => c.charCodeAt(0));
    compressed = new Blob([bytes]).stream();
  }
  return new Response(compressed.pipeThrough(new DecompressionStream('gzip'))).json();
}
const number = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 });
const show = value => value == null ? '–' : value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(1) : number.format(value);
const color = i => COLORS[i % COLORS.length];
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name);

let runs = [];
const hidden = new Set();
const visible = () => runs.map((run, i) => i).filter(i => !hidden.has(i));

// Curves

/** The limits of a share: from 0, and not so close that nothing looks like much. */
const share = (low, high) => [0, Math.max(0.1, Math.min(1, high * 1.1))];
/** What is drawn: a title, a column, what it means; also the columns of a band around it, and the limits of its axis. */
const CURVES = [
  ['Reward', 'reward', 'mean of the weighted sum; the band is ± the mean standard deviation within a group', { band: r => [r('reward', -1, 'reward_std'), r('reward', 1, 'reward_std')] }],
  ['Groups without a signal', 'frac_reward_zero_std', 'share of groups whose advantages are all 0', { range: share }],
  ['Tokens per completion', 'completions/mean_length', 'the band is from the shortest to the longest', { band: r => [r('completions/min_length'), r('completions/max_length')] }],
  ['Truncated', 'completions/clipped_ratio', 'share of completions that were cut off', { range: share }],
  ['KL', 'kl', 'nats per token from the reference'],
  ['Entropy', 'entropy', 'nats per token of the policy'],
  ['Gradient norm', 'grad_norm', 'before clipping'],
  ['Loss', 'loss', 'its value says little: with one update per rollout it is near 0'],
  ['Clipped ratios', 'clip_ratio/region_mean', 'share of ratios outside the bounds', { range: share }],
  ['Learning rate', 'learning_rate', ''],
  ['Sampler and trainer', 'sampling/sampling_logp_difference/max', 'largest difference of log-probabilities'],
  ['Redrawn groups', 'redrawn_groups', 'groups drawn to replace those with one outcome'],
  ['Seconds per step', 'step_time', ''],
  ['Seconds of sampling', 'time/generate', ''],
  ['Seconds of learning', 'time/learn', ''],
  ['Seconds of the reference', 'time/reference', ''],
  ['Sampled tokens per second', 'tokens_per_second', ''],
];
let plots = [];

/** The horizontal places of a run's steps. */
function places(run) {
  const axis = element('axis').value;
  if (axis === 'step') return run.steps;
  if (axis === 'tokens') return run.columns.num_tokens ?? run.steps;
  let seconds = 0;
  return (run.columns.step_time ?? []).map(time => (seconds += time ?? 0) / 3600);
}
/** An exponential moving average without the bias of its start. */
function smooth(values) {
  const weight = Number(element('smoothing').value);
  if (!weight) return values;
  let sum = 0, norm = 0;
  return values.map(value => {
    if (value == null) return null;
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}
/** Wilson's 95 % interval of a share. */
function interval(successes, trials) {
  const z = 1.959964, p = successes / trials, d = 1 + z * z / trials;
  const middle = (p + z * z / (2 * trials)) / d;
  const half = z / d * Math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials));
  return [middle - half, middle + half];
}
/** A run's column, plus another one times a sign. */
const column = run => (key, sign, other) => {
  const values = run.columns[key];
  const others = other && run.columns[other];
  return values && values.map((value, i) => value == null || !other ? value : others?.[i] == null ? null : value + sign * others[i]);
};

/** Curves in a card; `range` gives the vertical limits of the lowest and the highest value. */
function chart(title, about, { tables, series, bands = [], points = [], range }) {
  const box = make('div', 'card', make('h3', '', title), make('p', 'note', about));
  const place = make('div', 'plot');
  place.setAttribute('role', 'img');
  place.setAttribute('aria-label', `${title}. ${series.filter(s => s.label).map((s, i) => `${s.label}: last ${show(tables[i][1].findLast(v => v != null))}`).join('; ')}`);
  box.append(place);
  const axis = { stroke: style('--soft'), grid: { stroke: style('--line'), width: 1 }, ticks: { stroke: style('--line') } };
  const options = {
    width: 380, height: 190, scales: { x: { time: false }, ...(range ? { y: { range: (_, low, high) => range(low, high) } } : {}) }, cursor: { sync: { key: 'runs' } }, bands,
    axes: [{ ...axis, size: 34 }, { ...axis, size: 62, values: (_, ticks) => ticks.map(show) }],
    series: [{ label: element('axis').selectedOptions[0].textContent, value: (_, v) => show(v) }, ...series],
    hooks: { draw: [plot => marks(plot, points)] },
  };
  return { box, place, options, data: uPlot.join(tables) };
}
/** Intervals, and where something was found to go wrong. */
function marks(plot, points) {
  const { ctx } = plot;
  ctx.save();
  for (const { x, low, high, color } of points) {
    const at = plot.valToPos(x, 'x', true);
    ctx.strokeStyle = color;
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(at, plot.valToPos(low, 'y', true));
    ctx.lineTo(at, plot.valToPos(high, 'y', true));
    ctx.stroke();
  }
  if (element('axis').value === 'step') {
    ctx.fillStyle = style('--warn');
    const size = 5 * devicePixelRatio;
    for (const step of new Set(visible().flatMap(i => runs[i].diagnoses.map(([step]) => step)))) {
      const at = plot.valToPos(step, 'x', true);
      ctx.beginPath();
      ctx.moveTo(at, plot.bbox.top + size);
      ctx.lineTo(at - size, plot.bbox.top);
      ctx.lineTo(at + size, plot.bbox.top);
      ctx.fill();
    }
  }
  ctx.restore();
}
function curve([title, key, about, { band, range } = {}]) {
  const shown = visible().filter(i => runs[i].columns[key]);
  if (!shown.length) return null;
  const tables = [], series = [], bands = [];
  for (const i of shown) {
    const run = runs[i];
    tables.push([places(run), smooth(run.columns[key])]);
    series.push({ label: run.name, stroke: color(i), width: 2, spanGaps: true, value: (_, v) => show(v) });
  }
  if (band && shown.length === 1) {
    const run = runs[shown[0]];
    const [low, high] = band(column(run)).map(values => values && smooth(values));
    if (low && high) {
      tables.push([places(run), low], [places(run), high]);
      series.push(...['low', 'high'].map(label => ({ label, stroke: 'transparent', value: (_, v) => show(v) })));
      bands.push({ series: [3, 2], fill: `${color(shown[0])}22` });
    }
  }
  return chart(title, about, { tables, series, bands, range });
}
function heldOut(test, reward) {
  const tables = [], series = [], points = [];
  for (const i of visible()) {
    const found = runs[i].evaluations.filter(e => e.test === test && e.reward === reward);
    if (!found.length) continue;
    tables.push([found.map(e => e.step), found.map(e => e.successes / e.trials)]);
    series.push({ label: runs[i].name, stroke: color(i), width: 2, points: { show: true, size: 6 }, value: (_, v) => v == null ? '–' : `${(100 * v).toFixed(1)} %` });
    for (const e of found) {
      const [low, high] = interval(e.successes, e.trials);
      points.push({ x: e.step, low, high, color: color(i) });
    }
  }
  const most = Math.max(...visible().flatMap(i => runs[i].evaluations.map(e => e.trials)));
  const about = `share of up to ${most} held-out problems that earned it, greedily; 95 % intervals`;
  const range = () => [Math.min(...points.map(p => p.low)), Math.max(...points.map(p => p.high))];
  return tables.length ? chart(`${reward}, ${test}`, about, { tables, series, points, range }) : null;
}
function drawCurves() {
  for (const plot of plots) plot.destroy();
  plots = [];
  const rewards = [...new Set(visible().flatMap(i => runs[i].rewards))];
  const tests = [...new Set(visible().flatMap(i => runs[i].evaluations.map(e => JSON.stringify([e.test, e.reward]))))];
  const [first, ...rest] = CURVES;
  const stepwise = element('axis').value === 'step';
  const sections = [
    ['Rewards', [curve(first), ...rewards.map(name => curve([name, `rewards/${name}/mean`, 'mean over completions, before weight and gate']))]],
    ['Held-out problems', stepwise ? tests.map(key => heldOut(...JSON.parse(key))) : []],
    ['Policy', rest.slice(0, 8).map(curve)],
    ['Steps', rest.slice(8).map(curve)],
  ];
  element('charts').replaceChildren();
  for (const [name, charts] of sections) {
    const found = charts.filter(Boolean);
    if (!found.length) continue;
    const grid = make('div', 'cards', ...found.map(c => c.box));
    element('charts').append(make('h2', '', name), grid);
    for (const { place, options, data } of found) {
      plots.push(new uPlot({ ...options, width: Math.max(place.clientWidth, 200) }, data, place));
    }
  }
  element('diagnoses').replaceChildren(...visible().flatMap(i => runs[i].diagnoses.map(([step, text]) => {
    const link = make('button', '', `Step ${step}`);
    link.onclick = () => look({ run: i, step });
    return make('p', 'diagnosis', link, runs.length > 1 ? ` of ${runs[i].name}: ` : ': ', text);
  })));
}

// Completions

const state = { view: 'curves', run: 0, step: null, filter: 'step', query: '', problem: null, change: 'all', listed: LISTED };
const indices = new Map();
const index = run => indices.get(run) ?? indices.set(run, load(run, 'index')).get(run);
const cache = new Map();
/** A step's completions; the last ones that were looked at are kept. */
async function completionsOf(run, step) {
  const id = `${run}/${step}`;
  if (!cache.has(id)) cache.set(id, load(run, 'step', step));
  if (cache.size > 64) cache.delete(cache.keys().next().value);
  return cache.get(id);
}
const stepsOf = found => [...new Set(found.step)];

/** What can be listed besides one step: a name, and which of the index it is. */
function filters(run) {
  const names = runs[run].rewards;
  const earned = k => (found, i) => found.rewards[k][i] > 0;
  const format = names.findIndex(name => /format/.test(name));
  return [
    ['step', 'one step', null],
    ['all', 'all steps', () => true],
    ...names.flatMap((name, k) => [
      [`+${name}`, `${name}: earned`, earned(k)],
      [`-${name}`, `${name}: not earned`, (found, i) => !earned(k)(found, i)],
    ]),
    ...(format > 0 ? [['form', `${names[format]} without ${names[0]}`, (found, i) => earned(format)(found, i) && !earned(0)(found, i)]] : []),
    ['cut', 'truncated', (found, i) => found.truncated[i] === 1],
    ['lenient', `${names[0]} and the last number disagree`, (found, i) => found.lenient[i] != null && found.lenient[i] !== earned(0)(found, i)],
    ['flat', 'in a group without a signal', (found, i) => found.advantage[i] === 0],
  ];
}
/** A text with what cannot be seen made visible, and its tags marked. */
function text(whole) {
  const box = make('pre');
  const fill = shown => {
    box.replaceChildren();
    for (const part of shown.split(/(<\/?[a-zA-Z_]+>|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff])/)) {
      if (/^<\/?[a-zA-Z_]+>$/.test(part)) box.append(make('span', 'tag', part));
      else if (part.length === 1 && /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/.test(part) && part !== '\n' && part !== '\t') {
        box.append(make('span', 'hidden', `⟨U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`));
      } else if (part) box.append(part);
    }
  };
  if (whole.length <= SHORT) {
    fill(whole);
    return box;
  }
  fill(whole.slice(0, SHORT));
  const all = make('button', '', `Show all ${whole.length} characters`);
  all.onclick = () => { fill(whole); all.remove(); };
  return make('div', '', box, all);
}
const chip = (kind, value) => make('span', `chip ${kind}`, value);
const truthChip = truth => chip('', `truth ${typeof truth === 'string' ? truth : JSON.stringify(truth)}`);
function card(run, completion, heading) {
  const names = runs[run].rewards;
  const facts = make('div', 'facts',
    ...(heading ? [heading] : []),
    ...names.map((name, k) => chip(completion.rewards[k] > 0 ? 'good' : completion.rewards[k] < 0 ? 'bad' : '', `${name} ${show(completion.rewards[k])}`)),
    chip('', `reward ${show(completion.reward)}`),
    ...(completion.advantage == null ? [] : [chip(completion.advantage > 0 ? 'good' : completion.advantage < 0 ? 'bad' : '', `advantage ${completion.advantage > 0 ? '+' : ''}${show(completion.advantage)}`)]),
    chip('', `${completion.tokens} tokens`),
    ...(completion.finish === 'length' ? [chip('warn', 'truncated')] : []),
    ...(completion.lenient != null && completion.lenient !== completion.rewards[0] > 0 ? [chip('warn', completion.lenient ? 'last number is right' : 'last number is wrong')] : []));
  return make('article', 'card', facts, text(completion.text));
}
function groupBox(run, step, group) {
  const over = make('button', '', 'Over all steps');
  over.onclick = () => look({ run, problem: group.problem, filter: 'all' });
  const prompt = make('details', '', make('summary', '', 'Prompt'), text(group.prompt));
  const head = make('div', 'facts', make('h3', '', `Problem ${group.problem}`), truthChip(group.truth), over);
  const question = text(group.question);
  question.classList.add('question');
  return make('section', 'group', head, question, prompt, make('div', 'cards', ...group.completions.map(c => card(run, c))));
}
let turn = 0;
async function drawCompletions() {
  const mine = ++turn;
  const { run, filter, query, problem } = state;
  const found = await index(run);
  if (mine !== turn) return;
  const steps = stepsOf(found);
  const groups = element('groups');
  element('more').hidden = true;
  if (!steps.length) {
    groups.replaceChildren();
    element('found').textContent = 'This run has no completions yet.';
    return;
  }
  if (!steps.includes(state.step)) state.step = steps.findLast(step => step <= state.step) ?? steps[0];
  Object.assign(element('step'), { min: steps[0], max: steps.at(-1), value: state.step });
  element('run').value = run;
  if (element('query').value !== query) element('query').value = query;
  const known = filters(run);
  element('filter').replaceChildren(...known.map(([value, name]) => Object.assign(make('option', '', name), { value })));
  element('filter').value = filter;
  const [, , accept] = known.find(([value]) => value === filter) ?? known[0];
  if (!accept && !query && problem == null) {
    const { groups: all } = await completionsOf(run, state.step);
    if (mine !== turn) return;
    element('found').textContent = `Step ${state.step} of ${steps.at(-1)}: ${all.length} problems, ${all.reduce((n, g) => n + g.completions.length, 0)} completions.`;
    groups.replaceChildren(...all.map(group => groupBox(run, state.step, group)));
    return;
  }
  const places = found.step.map((_, i) => i).filter(i => (problem == null || found.problem[i] === problem) && (accept ?? (() => true))(found, i));
  await list(mine, run, found, places, query.toLowerCase(), problem);
}
/** Lists the completions at some places of the index, if they contain a text. */
async function list(mine, run, found, places, query, problem) {
  const groups = element('groups');
  groups.replaceChildren();
  let shown = 0, matches = 0, box = null, last = null, heading = null;
  const firsts = new Map();
  found.step.forEach((step, i) => { if (!firsts.has(step)) firsts.set(step, i); });
  for (const i of places) {
    const step = found.step[i];
    const { groups: all } = await completionsOf(run, step);
    if (mine !== turn) return;
    let offset = i - firsts.get(step), group = 0;
    while (offset >= all[group].completions.length) offset -= all[group++].completions.length;
    const completion = all[group].completions[offset];
    if (query && !`${all[group].question}\n${completion.text}`.toLowerCase().includes(query)) continue;
    matches++;
    if (shown === state.listed) {
      if (query) break; // the rest is searched when it is asked for
      continue;
    }
    shown++;
    const key = problem == null ? `${step}/${all[group].problem}` : all[group].problem;
    if (key !== last) {
      last = key;
      box = make('div', 'cards');
      const { question } = all[group];
      const asked = text(question);
      asked.classList.add('question');
      groups.append(make('section', 'group', make('div', 'facts', make('h3', '', problem == null ? `Step ${step}, problem ${all[group].problem}` : `Problem ${problem} over all steps`), truthChip(all[group].truth)), asked, box));
    }
    heading = make('button', '', `step ${step}`);
    heading.onclick = () => look({ run, step });
    box.append(card(run, completion, heading));
  }
  const more = shown === state.listed && matches > shown;
  element('found').textContent = query
    ? `${shown} completions of all steps contain the text${more ? ', and more' : ''}.`
    : `${places.length} of ${found.step.length} completions${more ? `, the first ${shown} of them` : ''}.`;
  element('more').hidden = !more;
}
/** Opens the completions at some place. */
function look(change) {
  const run = change.run ?? state.run;
  const other = run !== state.run;
  Object.assign(state, { view: 'completions', filter: 'step', query: '', problem: null, listed: LISTED }, other ? { step: null } : {}, change);
  draw();
}

// Before and after

/** What can be listed of held-out problems: a name, and which pairs it is. */
function changes(run) {
  const earned = (completion, k) => completion.rewards[k] > 0;
  return [
    ['all', 'all problems', () => true],
    ...runs[run].rewards.flatMap((name, k) => [
      [`+${name}`, `${name}: gained`, ({ before, after }) => !earned(before, k) && earned(after, k)],
      [`-${name}`, `${name}: lost`, ({ before, after }) => earned(before, k) && !earned(after, k)],
    ]),
  ];
}
async function drawHeldOut() {
  const mine = ++turn;
  const { run, change } = state;
  const tests = await load(run, 'held-out');
  if (mine !== turn) return;
  element('held-out-run').value = run;
  const pairs = tests.flatMap(({ test, problems }) => problems.map(pair => ({ test, ...pair })));
  const known = changes(run);
  element('change').replaceChildren(...known.map(([value, name, accept]) => Object.assign(make('option', '', `${name} (${pairs.filter(accept).length})`), { value })));
  const [value, , accept] = known.find(([value]) => value === change) ?? known[0];
  element('change').value = value;
  const chosen = pairs.filter(accept);
  const listed = chosen.slice(0, state.listed);
  element('changed').textContent = pairs.length
    ? `${listed.length} of ${chosen.length} problems.`
    : 'This run has no answers to held-out problems from before and after training: it goes on, or has no eval_problems.';
  element('pairs').replaceChildren(...listed.map(({ test, problem, question, truth, prompt, before, after }) => {
    const asked = text(question);
    asked.classList.add('question');
    const head = make('div', 'facts', make('h3', '', `${test}, problem ${problem}`), truthChip(truth));
    return make('section', 'group', head, asked, make('details', '', make('summary', '', 'Prompt'), text(prompt)),
      make('div', 'cards', card(run, before, chip('', 'before')), card(run, after, chip('', 'after'))));
  }));
  element('more-pairs').hidden = listed.length === chosen.length;
}

// Options

function drawOptions() {
  const shown = visible();
  const keys = [...new Set(shown.flatMap(i => Object.keys(runs[i].options)))].sort();
  const value = (i, key) => {
    const found = runs[i].options[key];
    return found === undefined ? '–' : typeof found === 'string' ? found : JSON.stringify(found);
  };
  const differs = key => new Set(shown.map(i => value(i, key))).size > 1;
  const only = element('differing').checked;
  const head = make('tr', '', make('th', '', 'Option'), ...shown.map(i => make('th', '', runs[i].name)));
  const rows = keys.filter(key => !only || differs(key)).map(key => make('tr', differs(key) ? 'differs' : '', make('td', '', key), ...shown.map(i => make('td', '', value(i, key)))));
  const machines = shown.flatMap(i => runs[i].processes.map(p => make('tr', '', make('td', '', runs[i].name), make('td', '', String(p.after_step)), make('td', '', `${p.began}`), make('td', '', `${p.platform}, ${p.threads} threads`), make('td', '', p.device ? JSON.stringify(p.device) : 'CPU'), make('td', '', `${p.version} ${String(p.commit ?? '').slice(0, 7)}`))));
  element('tables').replaceChildren(
    make('div', 'scroll', make('table', '', make('thead', '', head), make('tbody', '', ...rows))),
    make('h2', '', 'Processes'),
    make('div', 'scroll', make('table', '', make('thead', '', make('tr', '', ...['Run', 'After step', 'Began', 'Machine', 'Device', 'Version'].map(name => make('th', '', name)))), make('tbody', '', ...machines))));
}

// The page

const VIEWS = ['curves', 'completions', 'held-out', 'options'];
function draw() {
  for (const view of VIEWS) {
    element(view).hidden = view !== state.view;
    element(`tab-${view}`).setAttribute('aria-selected', view === state.view);
  }
  if (state.view === 'curves') drawCurves();
  if (state.view === 'completions') drawCompletions();
  if (state.view === 'held-out') drawHeldOut();
  if (state.view === 'options') drawOptions();
  const place = new URLSearchParams({ view: state.view });
  const keys = { completions: ['run', 'step', 'filter', 'query', 'problem'], 'held-out': ['run', 'change'] }[state.view];
  if (keys) {
    for (const key of keys) if (state[key] != null && state[key] !== '') place.set(key, state[key]);
  }
  history.replaceState(null, '', `#${place}`);
}
function restore() {
  const place = new URLSearchParams(location.hash.slice(1));
  if (VIEWS.includes(place.get('view'))) state.view = place.get('view');
  for (const key of ['run', 'step', 'problem']) if (/^\d+$/.test(place.get(key) ?? '')) state[key] = Number(place.get(key));
  for (const key of ['filter', 'query', 'change']) if (place.has(key)) state[key] = place.get(key);
  if (!runs[state.run]) state.run = 0;
}
async function move(by) {
  const steps = stepsOf(await index(state.run));
  const next = steps[Math.min(Math.max(steps.indexOf(state.step) + by, 0), steps.length - 1)];
  look({ step: next });
}
function listen() {
  for (const view of VIEWS) element(`tab-${view}`).onclick = () => { state.view = view; draw(); };
  element('smoothing').oninput = drawCurves;
  element('axis').onchange = drawCurves;
  element('run').onchange = event => look({ run: Number(event.target.value) });
  element('step').onchange = event => look({ step: Number(event.target.value) });
  element('filter').onchange = event => look({ step: state.step, filter: event.target.value });
  let timer;
  element('query').oninput = event => {
    clearTimeout(timer);
    timer = setTimeout(() => look({ step: state.step, filter: state.filter, query: event.target.value }), 250);
  };
  element('more').onclick = () => { state.listed += LISTED; drawCompletions(); };
  element('previous').onclick = () => move(-1);
  element('next').onclick = () => move(1);
  element('held-out-run').onchange = event => { Object.assign(state, { run: Number(event.target.value), step: null, listed: LISTED }); draw(); };
  element('change').onchange = event => { Object.assign(state, { change: event.target.value, listed: LISTED }); draw(); };
  element('more-pairs').onclick = () => { state.listed += LISTED; drawHeldOut(); };
  element('differing').onchange = drawOptions;
  document.onkeydown = event => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key >= '1' && event.key <= '4') element(`tab-${VIEWS[event.key - 1]}`).click();
    else if (event.key === '/') { event.preventDefault(); if (state.view !== 'completions') look({}); element('query').focus(); }
    else if (state.view === 'completions' && event.key === 'ArrowLeft') move(-1);
    else if (state.view === 'completions' && event.key === 'ArrowRight') move(1);
  };
  let width;
  new ResizeObserver(([entry]) => {
    if (width !== undefined && width !== entry.contentRect.width && state.view === 'curves') drawCurves();
    width = entry.contentRect.width;
  }).observe(document.body);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
}
function drawRuns() {
  element('runs').replaceChildren(...runs.map((run, i) => {
    const dot = make('span', 'dot');
    dot.style.background = color(i);
    const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: !hidden.has(i) });
    box.onchange = () => { if (box.checked) hidden.delete(i); else hidden.add(i); draw(); };
    return make('li', '', make('label', '', box, dot, `${run.name} (${run.steps.length} steps)`));
  }));
}
/** Looks for new steps; what is being read stays as it is. */
async function follow() {
  const known = runs.map(run => [run.steps.length, run.evaluations.length]).join();
  try {
    runs = await load('runs');
    element('lost').hidden = true;
  } catch {
    element('lost').hidden = false;
    return;
  }
  if (runs.map(run => [run.steps.length, run.evaluations.length]).join() === known) return;
  indices.clear();
  drawRuns();
  if (state.view === 'curves') drawCurves();
}
(async () => {
  runs = await load('runs');
  drawRuns();
  for (const id of ['run', 'held-out-run']) {
    element(id).append(...runs.map((run, i) => Object.assign(make('option', '', run.name), { value: i })));
  }
  element('differing').checked = runs.length > 1;
  restore();
  listen();
  draw();
  if (served) setInterval(follow, 2000);
  document.documentElement.dataset.ready = 'true';
})();
})();

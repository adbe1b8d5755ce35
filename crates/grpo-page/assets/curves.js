/** Limits around the values: not far apart if all are the same. */
const around = (low, high) => low === high ? [low - Math.abs(low) / 10, high + (Math.abs(high) / 10 || 1)] : uPlot.rangeNum(low, high, 0.1, true);
/** The limits of a share: from 0, and not so close that nothing looks like much. */
const share = (low, high) => [0, Math.max(0.1, Math.min(1, high * 1.1))];
/** What is drawn: a title, a column, what it means; also the columns of a band around it, and the limits of its axis. */
const REWARD = ['Reward', 'reward', 'mean of the weighted sum; with one run, the band is ± the standard deviation over completions', { band: c => [-1, 1].map(sign => plus(c.reward, sign, c.reward_std)) }];
const POLICY = [
  ['Groups without a signal', 'frac_reward_zero_std', 'share of groups whose advantages are all 0', { range: share }],
  ['Tokens per completion', 'completions/mean_length', 'with one run, the band is from the shortest to the longest', { band: c => [c['completions/min_length'], c['completions/max_length']] }],
  ['Truncated', 'completions/clipped_ratio', 'share of completions that were cut off', { range: share }],
  ['KL', 'kl', 'nats per token from the reference'],
  ['Entropy', 'entropy', 'nats per token of the policy'],
  ['Gradient norm', 'grad_norm', 'before clipping'],
  ['Loss', 'loss', 'its value says little: with one update per rollout it is near 0'],
  ['Clipped ratios', 'clip_ratio/region_mean', 'share of ratios outside the bounds', { range: share }],
];
const STEPS = [
  ['Learning rate', 'learning_rate', ''],
  ['Sampler and trainer', 'sampling/sampling_logp_difference/max', 'largest difference of log-probabilities'],
  ['Redrawn groups', 'redrawn_groups', 'groups drawn to replace those with one outcome'],
  ['Seconds per step', 'step_time', ''],
  ['Seconds of sampling', 'time/generate', ''],
  ['Seconds of learning', 'time/learn', ''],
  ['Seconds of the reference', 'time/reference', ''],
  ['Sampled tokens per second', 'tokens_per_second', ''],
  ['Peak memory', 'memory/peak', 'GiB of the process so far, without those of a device', { unit: 2 ** 30 }],
  ['Device memory', 'memory/device', 'GiB reserved on the device', { unit: 2 ** 30 }],
];
/** A reward's part. */
const part = name => [name, `rewards/${name}/mean`, 'mean reward over completions, before weight and gate; with one run, the band is ± the mean standard deviation within a group', {
  band: c => [-1, 1].map(sign => plus(c[`rewards/${name}/mean`], sign, c[`rewards/${name}/group_std`])),
}];
/** The other numbers of the record, by their names. */
function others() {
  const known = new Set([REWARD, ...POLICY, ...STEPS].map(([, key]) => key));
  const names = [...new Set(visible().flatMap(i => Object.keys(runs[i].columns)))].sort();
  return names.filter(name => !known.has(name) && !/^rewards\/.*\/mean$/.test(name)).map(name => [name, name, '']);
}
/** A value in a legend. */
const legend = (_, value) => show(value);
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
/** A column plus another one times a factor, where both have a value. */
const plus = (values, factor, others) => values && others && values.map((value, i) => value == null || others[i] == null ? null : value + factor * others[i]);

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
    axes: [{ ...axis, size: 34 }, { ...axis, size: 62, values: (_, ticks) => ticks.map(tick => short.format(tick)) }],
    series: [{ label: element('axis').selectedOptions[0].textContent, value: legend }, ...series],
    hooks: { draw: [plot => marks(plot, points)] },
  };
  return { box, place, options, data: uPlot.join(tables) };
}
/** Intervals, and where something was found to go wrong. */
function marks(plot, points) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
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
function curve([title, key, about, { band, range = around, unit = 1 } = {}]) {
  const shown = visible().filter(i => runs[i].columns[key]);
  if (!shown.length) return null;
  const tables = [], series = [], bands = [];
  for (const i of shown) {
    const run = runs[i];
    tables.push([places(run), smooth(run.columns[key].map(value => value == null ? null : value / unit))]);
    series.push({ label: run.name, stroke: color(i), width: 2, spanGaps: true, value: legend });
  }
  if (band && shown.length === 1) {
    const run = runs[shown[0]];
    const [low, high] = band(run.columns).map(values => values && smooth(values));
    if (low && high) {
      tables.push([places(run), low], [places(run), high]);
      series.push(...['low', 'high'].map(label => ({ label, stroke: 'transparent', value: legend })));
      bands.push({ series: [3, 2], fill: `${color(shown[0])}22` });
    }
  }
  return chart(title, about, { tables, series, bands, range });
}
function heldOut(test, reward) {
  const tables = [], series = [], points = [];
  let most = 0;
  for (const i of visible()) {
    const found = runs[i].evaluations.filter(e => e.test === test && e.reward === reward);
    if (!found.length) continue;
    most = Math.max(most, ...found.map(e => e.trials));
    tables.push([found.map(e => e.step), found.map(e => e.successes / e.trials)]);
    series.push({ label: runs[i].name, stroke: color(i), width: 2, points: { show: true, size: 6 }, value: (_, v) => v == null ? '–' : `${(100 * v).toFixed(1)} %` });
    for (const e of found) {
      const [low, high] = interval(e.successes, e.trials);
      points.push({ x: e.step, low, high, color: color(i) });
    }
  }
  const about = `share of up to ${most} held-out problems that earned it, greedily; 95 % intervals`;
  const range = () => [Math.min(...points.map(p => p.low)), Math.max(...points.map(p => p.high))];
  return tables.length ? chart(`${reward}, ${test}`, about, { tables, series, points, range }) : null;
}
/** The part of the horizontal axis that is zoomed to; none if it is all. */
function zoomed() {
  if (!plots.length) return null;
  const { data: [all], scales: { x: { min, max } } } = plots[0];
  return min > all[0] || max < all.at(-1) ? { min, max } : null;
}
/** Draws all curves, in the same part of the horizontal axis as before. */
function drawCurves(limits = zoomed()) {
  const scrolled = scrollY;
  for (const plot of plots) plot.destroy();
  plots = [];
  const rewards = [...new Set(visible().flatMap(i => runs[i].rewards))];
  const tests = [...new Set(visible().flatMap(i => runs[i].evaluations.map(e => JSON.stringify([e.test, e.reward]))))];
  const stepwise = element('axis').value === 'step';
  const sections = [
    ['Rewards', [curve(REWARD), ...rewards.map(name => curve(part(name)))]],
    ['Held-out problems', stepwise ? tests.map(key => heldOut(...JSON.parse(key))) : []],
    ['Policy', POLICY.map(curve)],
    ['Steps', STEPS.map(curve)],
    ['Others', others().map(curve)],
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
  if (limits) for (const plot of plots) plot.setScale('x', limits);
  scrollTo(0, scrolled);
  element('diagnoses').replaceChildren(...visible().flatMap(i => runs[i].diagnoses.map(([step, text]) => {
    const link = make('button', '', `Step ${step}`);
    link.onclick = () => look({ run: i, step, filter: 'step', query: '', problem: null });
    return make('p', 'diagnosis', link, runs.length > 1 ? ` of ${runs[i].name}: ` : ': ', text);
  })));
}

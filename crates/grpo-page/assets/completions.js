const state = { view: 'curves', run: 0, step: null, filter: 'step', query: '', problem: null, tint: 'none', change: 'all', listed: LISTED, sought: null };
const indices = new Map();
/** What a map has at a key, or what is loaded for it; a failure is not kept. */
function kept(map, key, ...name) {
  if (!map.has(key)) {
    const loaded = load(...name);
    loaded.catch(() => map.delete(key));
    map.set(key, loaded);
  }
  return map.get(key);
}
const index = run => kept(indices, run, run, 'index');
const cache = new Map();
/** A step's completions; the last ones that were looked at are kept. */
function completionsOf(run, step) {
  if (cache.size > 64) cache.delete(cache.keys().next().value);
  return kept(cache, `${run}/${step}`, run, 'step', step);
}
const stepsOf = found => [...new Set(found.step)];

/** What can be listed besides one step: a name, and which of the index it is. */
function filters(run) {
  const names = runs[run].rewards;
  const earned = k => (found, i) => found.rewards[k][i] > 0;
  const format = names.findIndex(name => /format/.test(name));
  return [
    ['step', 'this step', (found, i) => found.step[i] === state.step],
    ['all', 'all steps', () => true],
    ...names.flatMap((name, k) => [
      [`+${name}`, `${name}: earned`, earned(k)],
      [`-${name}`, `${name}: not earned`, (found, i) => !earned(k)(found, i)],
    ]),
    ...(format > 0 ? [['form', `${names[format]} without ${names[0]}`, (found, i) => earned(format)(found, i) && !earned(0)(found, i)]] : []),
    ['cut', 'truncated', (found, i) => found.truncated[i] === 1],
    ['lenient', `${names[0]} and the last number disagree`, (found, i) => found.lenient[i] != null && found.lenient[i] !== earned(0)(found, i)],
    ['flat', 'in a group without a signal', (found, i) => found.signal[i] === 0],
  ];
}
/** What tokens can be coloured by: a name, what a shade means, and the colour of a token with its strength, of which 8 is the most. */
const TINTS = {
  none: ['nothing', ''],
  logprob: ['log-probability', 'The stronger, the less likely: each of the eight shades is half a nat.', ({ sampled }, i) => ['shade', Math.round(sampled.logprobs[i] / 32)]],
  entropy: ['entropy', 'The stronger, the less certain: each of the eight shades is a third of a nat.', ({ sampled }, i) => ['shade', Math.round(sampled.entropies[i] / 21)]],
  advantage: ['advantage', 'Green is reinforced, red is discouraged, the stronger the more. All tokens of a completion have its advantage.', ({ advantage }) => [sign(advantage), Math.ceil(4 * Math.abs(advantage))]],
};
const TAG = /<\/?[a-zA-Z_]+>/;
const INVISIBLE = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u3164]/u;
const PARTS = new RegExp(`(${TAG.source}|${INVISIBLE.source})`, 'u');
/** A part of a text with what cannot be seen made visible, and its tags marked. */
function visibly(box, shown) {
  // Every second part is what separates the others.
  shown.split(PARTS).forEach((part, i) => {
    if (i % 2 === 0) box.append(part);
    else if (TAG.test(part)) box.append(make('span', 'tag', part));
    else box.append(make('span', 'hidden', `⟨U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`));
  });
}
/** The first characters of a text, token by token, each with its shade. */
function byToken(box, whole, end, completion) {
  const { sampled } = completion;
  let start = whole.length - sampled.lengths.reduce((sum, length) => sum + length, 0);
  visibly(box, whole.slice(0, Math.min(start, end)));
  const [, , tint] = TINTS[state.tint];
  sampled.lengths.forEach((length, i) => {
    const shown = whole.slice(start, Math.min(start + length, end));
    start += length;
    if (!shown) return;
    const [name, strength] = tint(completion, i);
    const token = make('span', `${name}${Math.min(8, strength)}`);
    token.style.setProperty('--strength', Math.min(8, strength));
    token.title = `probability ${show(Math.exp(-sampled.logprobs[i] / 64))}, entropy ${show(sampled.entropies[i] / 64)} nats`;
    visibly(token, shown);
    box.append(token);
  });
}
/** A text, of a completion or not; a long one at first in part. */
function text(whole, completion) {
  const box = make('pre');
  const fill = end => {
    box.replaceChildren();
    if (completion?.sampled && state.tint !== 'none') byToken(box, whole, end, completion);
    else visibly(box, whole.slice(0, end));
  };
  if (whole.length <= SHORT) {
    fill(whole.length);
    return box;
  }
  fill(SHORT);
  const all = make('button', '', `Show all ${whole.length} characters`);
  all.onclick = () => { fill(whole.length); all.remove(); };
  return make('div', '', box, all);
}
const chip = (kind, value) => make('span', `chip ${kind}`, value);
const sign = value => value > 0 ? 'good' : value < 0 ? 'bad' : '';
function card(run, completion, heading) {
  const names = runs[run].rewards;
  const facts = make('div', 'facts',
    ...(heading ? [heading] : []),
    ...names.map((name, k) => chip(sign(completion.rewards[k]), `${name} ${show(completion.rewards[k])}`)),
    chip('', `reward ${show(completion.reward)}`),
    ...(completion.advantage == null ? [] : [chip(sign(completion.advantage), `advantage ${completion.advantage > 0 ? '+' : ''}${show(completion.advantage)}`)]),
    chip('', `${completion.tokens} tokens`),
    ...(completion.finish === 'length' ? [chip('warn', 'truncated')] : []),
    ...(completion.lenient != null && completion.lenient !== completion.rewards[0] > 0 ? [chip('warn', completion.lenient ? 'last number is right' : 'last number is wrong')] : []));
  return make('article', 'card', facts, text(completion.text, completion));
}
/** A problem, with what is said of it: facts beside its name, and elements below its question. */
function problemBox(name, { question, truth }, facts, ...below) {
  const asked = text(question);
  asked.classList.add('question');
  const shown = typeof truth === 'string' ? truth : JSON.stringify(truth);
  return make('section', 'group', make('div', 'facts', make('h2', '', name), chip('', `truth ${shown}`), ...facts), asked, ...below);
}
const promptOf = ({ prompt }) => make('details', '', make('summary', '', 'Prompt'), text(prompt));
function groupBox(run, step, group) {
  const over = make('button', '', 'Over all steps');
  over.onclick = () => look({ run, problem: group.problem, filter: 'all', query: '' });
  const cards = make('div', 'cards', ...group.completions.map(c => card(run, c)));
  return problemBox(`Problem ${group.problem}`, group, [over], promptOf(group), cards);
}
let turn = 0;
async function drawCompletions() {
  const mine = ++turn;
  const { run, query, problem } = state;
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
  const [filter, , accept] = known.find(([value]) => value === state.filter) ?? known[0];
  state.filter = element('filter').value = filter;
  if (!TINTS[state.tint]) state.tint = 'none';
  element('tint').value = state.tint;
  element('shades').textContent = state.tint === 'none' ? '' : `${TINTS[state.tint][1]} Completions whose tokens are not recorded (record_tokens) are shown without colours.`;
  address();
  if (filter === 'step' && !query && problem == null) {
    const { groups: all } = await completionsOf(run, state.step);
    if (mine !== turn) return;
    element('found').textContent = `Step ${state.step} of ${steps.at(-1)}: ${all.length} problems, ${all.reduce((n, g) => n + g.completions.length, 0)} completions.`;
    const boxes = all.map(group => groupBox(run, state.step, group));
    groups.replaceChildren(...boxes);
    boxes[all.findIndex(group => group.problem === state.sought)]?.scrollIntoView();
    state.sought = null;
    return;
  }
  const places = found.step.map((_, i) => i).filter(i => (problem == null || found.problem[i] === problem) && accept(found, i));
  await list(mine, run, found, places, query.toLowerCase(), problem);
}
/** Lists the completions at some places of the index, if they contain a text. */
async function list(mine, run, found, places, query, problem) {
  const groups = element('groups');
  groups.replaceChildren();
  let shown = 0, more = false, box = null, last = null;
  const firsts = new Map();
  found.step.forEach((step, i) => { if (!firsts.has(step)) firsts.set(step, i); });
  for (const i of places) {
    const step = found.step[i];
    if (query && step !== found.step[i - 1]) element('found').textContent = `Searching step ${step} of ${found.step.at(-1)} …`;
    const { groups: all } = await completionsOf(run, step);
    if (mine !== turn) return;
    let offset = i - firsts.get(step), group = 0;
    while (offset >= all[group].completions.length) offset -= all[group++].completions.length;
    const { problem: id, question, completions } = all[group];
    if (query && !`${question}\n${completions[offset].text}`.toLowerCase().includes(query)) continue;
    more = shown === state.listed;
    if (more) break;
    shown++;
    const key = problem == null ? `${step}/${id}` : id;
    if (key !== last) {
      last = key;
      box = make('div', 'cards');
      groups.append(problemBox(problem == null ? `Step ${step}, problem ${id}` : `Problem ${id} over all steps`, all[group], [], box));
    }
    const heading = make('button', '', `step ${step}`);
    heading.onclick = () => look({ run, step, filter: 'step', query: '', problem: null, sought: id });
    box.append(card(run, completions[offset], heading));
  }
  element('found').textContent = query
    ? `${shown} of these ${places.length} completions contain the text${more ? ', and more' : ''}.`
    : `${places.length} of ${found.step.length} completions${more ? `, the first ${shown} of them` : ''}.`;
  element('more').hidden = !more;
}
/** Opens the completions; only what is named changes. */
function look(change) {
  go({ view: 'completions', ...change });
}

const VIEWS = ['curves', 'completions', 'held-out', 'options'];
const DRAWN = { curves: drawCurves, completions: drawCompletions, 'held-out': drawHeldOut, options: drawOptions };
/** Says what went wrong, where it is seen and heard. */
function fail(error) {
  element('failed').textContent = error ? `${error.message ?? error}` : '';
}
function draw() {
  for (const view of VIEWS) {
    element(view).hidden = view !== state.view;
    element('runs').hidden = ['completions', 'held-out'].includes(state.view);
    element(`to-${view}`).setAttribute('aria-current', view === state.view ? 'page' : 'false');
  }
  address();
  fail();
  Promise.resolve().then(DRAWN[state.view]).catch(fail);
}
/** Goes to another place, from which the browser's Back leads here again. */
function go(change) {
  Object.assign(state, { listed: LISTED }, change);
  address('pushState');
  draw();
}
/** Writes the place into the browser's address. */
function address(write = 'replaceState') {
  const place = new URLSearchParams({ view: state.view });
  const keys = { completions: ['run', 'step', 'filter', 'query', 'problem', 'tint'], 'held-out': ['run', 'change'] }[state.view] ?? [];
  if (hidden.size) place.set('hidden', [...hidden].join());
  for (const key of keys) if (state[key] != null && state[key] !== '') place.set(key, state[key]);
  if (location.hash !== `#${place}`) history[write](null, '', `#${place}`);
}
function restore() {
  const place = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, { filter: 'step', query: '', problem: null, tint: 'none', change: 'all' });
  if (VIEWS.includes(place.get('view'))) state.view = place.get('view');
  for (const key of ['run', 'step', 'problem']) if (/^\d+$/.test(place.get(key) ?? '')) state[key] = Number(place.get(key));
  for (const key of ['filter', 'query', 'tint', 'change']) if (place.has(key)) state[key] = place.get(key);
  if (!runs[state.run]) state.run = 0;
  hidden.clear();
  for (const run of place.get('hidden')?.split(',') ?? []) if (runs[run]) hidden.add(Number(run));
  drawRuns();
}
async function move(by) {
  const steps = stepsOf(await index(state.run));
  const next = steps[Math.min(Math.max(steps.indexOf(state.step) + by, 0), steps.length - 1)];
  look({ step: next, filter: 'step', problem: null });
}
function listen() {
  for (const view of VIEWS) element(`to-${view}`).onclick = () => go({ view });
  window.onhashchange = () => { restore(); draw(); };
  element('smoothing').oninput = () => drawCurves();
  element('axis').onchange = () => drawCurves(null);
  element('run').onchange = event => look({ run: Number(event.target.value) });
  element('step').onchange = event => look({ step: Number(event.target.value), filter: 'step', problem: null });
  element('filter').onchange = event => look({ filter: event.target.value, ...(event.target.value === 'step' ? { problem: null } : {}) });
  element('tint').onchange = event => look({ tint: event.target.value });
  let timer;
  element('query').oninput = event => {
    clearTimeout(timer);
    state.query = event.target.value;
    // A text is looked for everywhere, unless a filter says where.
    if (state.query && state.filter === 'step') state.filter = 'all';
    state.listed = LISTED;
    timer = setTimeout(draw, 250);
  };
  element('more').onclick = () => { state.listed += LISTED; draw(); };
  element('previous').onclick = () => move(-1);
  element('next').onclick = () => move(1);
  element('held-out-run').onchange = event => go({ run: Number(event.target.value), step: null });
  element('change').onchange = event => go({ change: event.target.value });
  element('more-pairs').onclick = () => { state.listed += LISTED; draw(); };
  element('differing').onchange = drawOptions;
  document.onkeydown = event => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key >= '1' && event.key <= '4') element(`to-${VIEWS[event.key - 1]}`).click();
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
/** Tells runs of the same name apart. */
function tellApart() {
  runs.forEach((run, i) => {
    const same = runs.slice(0, i).filter(other => other.base === run.name).length;
    run.base = run.name;
    if (same) run.name += ` (${same + 1})`;
  });
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
/** Looks for what is new, again and again; completions that are being read stay as they are. */
async function follow() {
  if (!document.hidden) {
    try {
      const began = runs.some(run => run.steps.length);
      if (take(await load('runs'))) {
        indices.clear();
        cache.clear();
        if (state.view !== 'completions' || !began) draw();
      }
      element('lost').textContent = '';
    } catch (error) {
      element('lost').textContent = error instanceof TypeError ? 'The server no longer answers; this is what it sent last.' : error.message;
    }
  }
  setTimeout(follow, 2000);
}
let known;
/** Takes what has been read of the runs; whether it is anything new. */
function take(found) {
  const text = JSON.stringify(found);
  if (text === known) return false;
  known = text;
  runs = found;
  tellApart();
  drawRuns();
  return true;
}
(async () => {
  if (!window.DecompressionStream) throw new Error('This browser is too old: the page needs DecompressionStream.');
  take(await load('runs'));
  for (const id of ['run', 'held-out-run']) {
    element(id).append(...runs.map((run, i) => Object.assign(make('option', '', run.name), { value: i })));
  }
  element('tint').append(...Object.entries(TINTS).map(([value, [name]]) => Object.assign(make('option', '', name), { value })));
  element('differing').checked = runs.length > 1;
  restore();
  listen();
  draw();
  if (served) setTimeout(follow, 2000);
  document.documentElement.dataset.ready = 'true';
})().catch(fail);

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
/** The share of completions that earned a reward, of those that it scored. */
const rate = (pairs, when, k) => {
  const earned = pairs.map(pair => pair[when].rewards[k]).filter(reward => reward != null);
  return `${(100 * earned.filter(reward => reward > 0).length / earned.length).toFixed(1)} %`;
};
async function drawHeldOut() {
  const mine = ++turn;
  const { run, change } = state;
  const tests = await kept(cache, `${run}/held-out`, run, 'held-out');
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
    ? `${listed.length} of ${chosen.length} problems. Earned before and after: ${runs[run].rewards.map((name, k) => `${name} ${rate(pairs, 'before', k)} and ${rate(pairs, 'after', k)}`).join(', ')}.`
    : 'This run has no answers to held-out problems from before and after training: it is in progress, or has no eval_problems.';
  element('pairs').replaceChildren(...listed.map(pair => {
    const cards = make('div', 'cards', card(run, pair.before, chip('', 'before')), card(run, pair.after, chip('', 'after')));
    return problemBox(`${pair.test}, problem ${pair.problem}`, pair, [], promptOf(pair), cards);
  }));
  element('more-pairs').hidden = listed.length === chosen.length;
}

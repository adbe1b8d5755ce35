const column = name => Object.assign(make('th', '', name), { scope: 'col' });
function drawOptions() {
  const shown = visible();
  const keys = [...new Set(shown.flatMap(i => Object.keys(runs[i].options)))].sort();
  const value = (i, key) => {
    const found = runs[i].options[key];
    return found === undefined ? '–' : typeof found === 'string' ? found : JSON.stringify(found);
  };
  const differs = key => new Set(shown.map(i => value(i, key))).size > 1;
  const only = element('differing').checked;
  const head = make('tr', '', column('Option'), ...shown.map(i => column(runs[i].name)));
  const rows = keys.filter(key => !only || differs(key)).map(key => make('tr', differs(key) ? 'differs' : '', make('td', '', key), ...shown.map(i => make('td', '', value(i, key)))));
  const machines = shown.flatMap(i => runs[i].processes.map(p => make('tr', '', make('td', '', runs[i].name), make('td', '', String(p.after_step)), make('td', '', `${p.began}`), make('td', '', `${p.platform}, ${p.threads} threads`), make('td', '', p.device ? JSON.stringify(p.device) : 'CPU'), make('td', '', `${p.version} ${String(p.commit ?? '').slice(0, 7)}`))));
  element('tables').replaceChildren(
    make('div', 'scroll', make('table', '', make('thead', '', head), make('tbody', '', ...rows))),
    make('h2', '', 'Processes'),
    make('div', 'scroll', make('table', '', make('thead', '', make('tr', '', ...['Run', 'After step', 'Began', 'Machine', 'Device', 'Version'].map(column))), make('tbody', '', ...machines))));
}

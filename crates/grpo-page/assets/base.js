'use strict';
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
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
const show = value => value == null ? '–' : Number.isInteger(value) ? value.toLocaleString('en') : value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(1) : number.format(value);
const color = i => COLORS[i % COLORS.length];
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name);

let runs = [];
const hidden = new Set();
const visible = () => runs.map((run, i) => i).filter(i => !hidden.has(i));

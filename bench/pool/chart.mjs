// Charts as SVG text: lines of steps, and dots over time. Nothing but strings.
const COLOURS = ['#0b6e4f', '#c0392b', '#2c5f9e', '#8e5aa8'];
const TEXT = 'font-family="system-ui, sans-serif" font-size="13" fill="#222"';

function svg(width, height, title, body) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${title}">
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="16" y="24" ${TEXT} font-weight="600">${title}</text>
${body.join('\n')}
</svg>
`;
}

const label = (x, y, text, more = '') => `<text x="${x}" y="${y}" ${TEXT} ${more}>${text}</text>`;
const line = (x1, y1, x2, y2, colour, more = '') =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colour}" ${more}/>`;

/** Requests served over time, a line a pool, with the connections it opened beside its name. */
export function spikeChart(pools) {
  const [width, height, left, top, right, bottom] = [820, 380, 60, 50, 590, 330];
  const maxMs = Math.max(...pools.map(({ lastMs }) => lastMs)) * 1.05;
  const count = pools[0].servedAt.length;
  const x = (ms) => (left + ((right - left) * ms) / maxMs).toFixed(1);
  const y = (served) => (bottom - ((bottom - top) * served) / count).toFixed(1);
  const body = [line(left, bottom, right, bottom, '#888'), line(left, top, left, bottom, '#888')];
  for (let served = 0; served <= count; served += 10)
    body.push(label(left - 8, Number(y(served)) + 4, served, 'text-anchor="end"'));
  for (let ms = 0; ms <= maxMs; ms += 25) body.push(label(x(ms), bottom + 18, ms, 'text-anchor="middle"'));
  body.push(label((left + right) / 2, bottom + 38, 'ms since the spike', 'text-anchor="middle"'));
  pools.forEach(({ name, servedAt, opened, lastMs }, index) => {
    const colour = COLOURS[index];
    const sorted = [...servedAt].sort((a, b) => a - b);
    const points = sorted.flatMap((ms, i) => [`${x(ms)},${y(i)}`, `${x(ms)},${y(i + 1)}`]);
    body.push(
      `<polyline points="${x(0)},${y(0)} ${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    );
    const at = top + 20 + index * 44;
    body.push(line(right + 20, at - 4, right + 44, at - 4, colour, 'stroke-width="3"'));
    body.push(label(right + 52, at, shown(name), 'font-weight="600"'));
    body.push(label(right + 52, at + 17, `${opened} opened, ${lastMs.toFixed(0)} ms`));
  });
  return svg(width, height, '50 requests on 5 idle connections: requests served (150 ms to dial, 2 ms a query)', body);
}

/** A panel a pool: each call at its beginning, as high as it took, in the colour of its outcome. */
export function outageChart(pools, times) {
  const [width, left, right, panel] = [820, 130, 790, 96];
  const height = 70 + panel * pools.length + 60;
  const capMs = 1.1 * Math.max(...pools.flatMap(({ calls }) => calls.map(({ tookMs }) => tookMs ?? 0)));
  const x = (ms) => (left + ((right - left) * ms) / times.endMs).toFixed(1);
  const body = [];
  pools.forEach(({ name, calls }, index) => {
    const floor = 50 + panel * (index + 1) - 14;
    const y = (ms) => (floor - ((panel - 30) * Math.min(ms, capMs)) / capMs).toFixed(1);
    body.push(
      `<rect x="${x(times.cutMs)}" y="${floor - panel + 28}" width="${x(times.backMs) - x(times.cutMs)}" height="${panel - 28}" fill="#f3e3e0"/>`,
      line(left, floor, right, floor, '#888'),
      label(16, floor - 30, shown(name), 'font-weight="600"'),
      label(left - 6, Number(y(capMs / 1.1)) + 4, `${(capMs / 1_100).toFixed(0)} s`, 'text-anchor="end"'),
      label(left - 6, floor + 4, '0', 'text-anchor="end"'),
    );
    for (const { atMs, tookMs, outcome } of calls)
      body.push(dot(x(atMs), tookMs === null ? y(capMs) : y(tookMs), outcome));
  });
  const axis = 50 + panel * pools.length + 8;
  for (let ms = 0; ms <= times.endMs; ms += 10_000)
    body.push(label(x(ms), axis, `${ms / 1_000} s`, 'text-anchor="middle"'));
  const legend = axis + 34;
  [
    ['served', 'served'],
    ['failed', 'failed'],
    ['never', 'no answer to the end'],
  ].forEach(([outcome, text], i) => {
    body.push(dot(left + 6 + i * 150, legend - 4, outcome), label(left + 18 + i * 150, legend, text));
  });
  body.push(label(left + 18 + 3 * 150, legend, 'shaded: the network is cut'));
  return svg(width, height, 'A call every 2 s while the network is cut: how long each caller waited', body);
}

function dot(x, y, outcome) {
  if (outcome === 'never')
    return `<text x="${x}" y="${Number(y) + 5}" ${TEXT} text-anchor="middle" font-weight="700">×</text>`;
  return `<circle cx="${x}" cy="${y}" r="4" fill="${outcome === 'served' ? COLOURS[0] : COLOURS[1]}"/>`;
}

const SHOWN = { 'sluice connect': '@sluice/pool', 'sluice wait': '… that waits' };
const shown = (name) => SHOWN[name] ?? name;

// The table: medians of the rounds, ratios taken round by round, and whether each bar is met.

const number = (value, digits = 1) => (value === undefined ? '' : value.toFixed(digits));

function row(cells) {
  return `| ${cells.join(' | ')} |`;
}

function table(head, rows) {
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
}

/** The rounds as questions: the median of a field, and its ratio to PgBouncer's round by round. */
function readings(rounds, median) {
  const of = (protocol, pooler, read) => rounds.filter((r) => r.protocol === protocol && r.pooler === pooler).map(read);
  return {
    protocols: [...new Set(rounds.map(({ protocol }) => protocol))],
    poolers: [...new Set(rounds.map(({ pooler }) => pooler))],
    middle(protocol, pooler, field) {
      const found = of(protocol, pooler, (r) => r[field]).filter((value) => value !== undefined);
      return found.length === 0 ? undefined : median(found);
    },
    /** The throughput through one in one protocol, of that in another; or of another's there. */
    between(protocol, other, pooler, base = pooler) {
      const [a, b] = [of(protocol, pooler, (r) => r.tps), of(other, base, (r) => r.tps)];
      return a.length === 0 ? null : median(a.map((value, i) => value / b[i]));
    },
    ratio(protocol, read) {
      const [a, b] = [of(protocol, 'Sluice', read), of(protocol, 'PgBouncer', read)];
      return a.length === 0 || b.length === 0 ? null : median(a.map((value, i) => value / b[i]));
    },
  };
}

function trafficTable({ protocols, poolers, middle }) {
  const fields = [
    ['tps', 0],
    ['p50', 2],
    ['p99', 2],
    ['user', 1],
    ['system', 1],
  ];
  const cells = (protocol, pooler) => fields.map(([field, digits]) => number(middle(protocol, pooler, field), digits));
  return table(
    ['protocol', 'through', 'transactions/s', 'p50 ms', 'p99 ms', 'user µs/tx', 'system µs/tx'],
    protocols.flatMap((protocol) =>
      poolers
        .filter((pooler) => middle(protocol, pooler, 'tps') !== undefined)
        .map((pooler) => [protocol, pooler, ...cells(protocol, pooler)]),
    ),
  );
}

function memoryTable(memory) {
  return table(
    ['pooler', 'idle clients', 'memory MB', 'kB a client'],
    memory.map((m) => [
      m.pooler,
      String(m.clients),
      number(m.bytes / 1e6),
      m.clients === 0 ? '' : number(m.perClient / 1000),
    ]),
  );
}

function loginTable(logins, rate) {
  const authTypes = [...new Set(logins.map(({ authType }) => authType))];
  return table(
    ['pooler', ...authTypes.map((authType) => `${authType} logins/s`)],
    [...new Set(logins.map(({ pooler }) => pooler))].map((pooler) => [
      pooler,
      ...authTypes.map((authType) => number(rate(pooler, authType), 0)),
    ]),
  );
}

/** What is to be reached, and whether it was; a bar whose numbers were not measured is left out. */
function barTable({ protocols, middle, ratio, between }, { memory, logins }, loginRatio) {
  const bars = [];
  const bar = (name, value, holds, wanted) =>
    value !== null &&
    value !== undefined &&
    bars.push([name, number(value, 2), wanted, holds(value) ? 'met' : 'missed']);
  const cpu = ratio('simple', (r) => r.user + r.system);
  bar(
    'throughput of PgBouncer’s, simple',
    ratio('simple', (r) => r.tps),
    (v) => v >= 0.92,
    '≥ 0.92',
  );
  bar('CPU a transaction of PgBouncer’s, simple', cpu, (v) => v <= 1.25, '≤ 1.25');
  bar(
    'p99 of PgBouncer’s, simple',
    ratio('simple', (r) => r.p99),
    (v) => v <= 1.25,
    '≤ 1.25',
  );
  bar('user CPU µs a transaction, simple', middle('simple', 'Sluice', 'user'), (v) => v <= 6, '≤ 6');
  if (protocols.includes('extended')) {
    bar('extended throughput of simple', between('extended', 'simple', 'Sluice'), (v) => v >= 0.95, '≥ 0.95');
    const preparing = 'Sluice, prepare_threshold = 5';
    bar('— with prepare_threshold = 5', between('extended', 'simple', preparing, 'Sluice'), (v) => v >= 0.95, '≥ 0.95');
    // What PostgreSQL and the load itself make of it.
    for (const other of ['direct', 'PgBouncer']) {
      const value = between('extended', 'simple', other);
      if (value !== null) bars.push([`— the same, ${other}`, number(value, 2), '', '']);
    }
  }
  bar(
    'prepared throughput of PgBouncer’s',
    ratio('prepared', (r) => r.tps),
    (v) => v >= 0.9,
    '≥ 0.90',
  );
  for (const m of memory)
    if (m.pooler === 'Sluice' && m.clients > 0)
      bar(`kB an idle client of ${m.clients}`, m.perClient / 1000, (v) => v < 10, '< 10');
  if (logins.some(({ pooler }) => pooler === 'PgBouncer'))
    bar('SCRAM logins of PgBouncer’s', loginRatio('scram-sha-256'), (v) => v >= 1, '≥ 1');
  return table(['bar', 'measured', 'to reach', ''], bars);
}

export function renderMarkdown({ machine, load, rounds, memory, logins }, median) {
  const read = readings(rounds, median);
  const rate = (pooler, authType) =>
    median(logins.filter((l) => l.pooler === pooler && l.authType === authType).map((l) => l.perSecond));
  const loginRatio = (authType) => {
    const of = (pooler) => logins.filter((l) => l.pooler === pooler && l.authType === authType);
    return median(of('Sluice').map(({ perSecond }, i) => perSecond / of('PgBouncer')[i].perSecond));
  };
  const { cores, model, memoryGiB, kernel, node, postgres, pgbouncer } = machine;
  return `# Benchmark

${cores} cores (${model}), ${memoryGiB} GiB, Linux ${kernel}; Node ${node}, PostgreSQL ${postgres}, ${pgbouncer ?? 'no PgBouncer'}.
Load: ${load.tool}, ${load.clients} clients, pool of ${load.pool}, ${load.rounds} rounds of ${load.seconds} s in turn; medians; ratios round by round. All on loopback.

${trafficTable(read)}

${memoryTable(memory)}

${loginTable(logins, rate)}

${barTable(read, { memory, logins }, loginRatio)}
`;
}

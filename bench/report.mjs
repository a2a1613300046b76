// The table: medians of the rounds, ratios taken round by round, and whether each bar is met.

const number = (value, digits = 1) => (value === undefined ? '' : value.toFixed(digits));

function row(cells) {
  return `| ${cells.join(' | ')} |`;
}

function table(head, rows) {
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
}

export function renderMarkdown({ machine, load, rounds, memory, logins }, median) {
  const protocols = [...new Set(rounds.map(({ protocol }) => protocol))];
  const poolers = [...new Set(rounds.map(({ pooler }) => pooler))];
  const of = (protocol, pooler, field) =>
    rounds.filter((r) => r.protocol === protocol && r.pooler === pooler).map((r) => r[field]);
  const middle = (protocol, pooler, field) => {
    const found = of(protocol, pooler, field).filter((value) => value !== undefined);
    return found.length === 0 ? undefined : median(found);
  };
  const ratio = (protocol, field) => {
    const [a, b] = [of(protocol, 'Sluice', field), of(protocol, 'PgBouncer', field)];
    return a.length === 0 || b.length === 0 ? null : median(a.map((value, i) => value / b[i]));
  };
  const cpuRatio = (protocol) => {
    const cpu = (pooler) =>
      rounds.filter((r) => r.protocol === protocol && r.pooler === pooler).map((r) => r.user + r.system);
    const [a, b] = [cpu('Sluice'), cpu('PgBouncer')];
    return b.length === 0 ? null : median(a.map((value, i) => value / b[i]));
  };
  const traffic = table(
    ['protocol', 'through', 'transactions/s', 'p50 ms', 'p99 ms', 'user µs/tx', 'system µs/tx'],
    protocols.flatMap((protocol) =>
      poolers.map((pooler) => [
        protocol,
        pooler,
        ...[
          ['tps', 0],
          ['p50', 2],
          ['p99', 2],
          ['user', 1],
          ['system', 1],
        ].map(([field, digits]) => number(middle(protocol, pooler, field), digits)),
      ]),
    ),
  );
  const memoryTable = table(
    ['pooler', 'idle clients', 'memory MB', 'kB a client'],
    memory.map((m) => [
      m.pooler,
      String(m.clients),
      number(m.bytes / 1e6),
      m.clients === 0 ? '' : number(m.perClient / 1000),
    ]),
  );
  const authTypes = [...new Set(logins.map(({ authType }) => authType))];
  const rate = (pooler, authType) =>
    median(logins.filter((l) => l.pooler === pooler && l.authType === authType).map((l) => l.perSecond));
  const loginTable = table(
    ['pooler', ...authTypes.map((authType) => `${authType} logins/s`)],
    [...new Set(logins.map(({ pooler }) => pooler))].map((pooler) => [
      pooler,
      ...authTypes.map((authType) => number(rate(pooler, authType), 0)),
    ]),
  );
  const bars = [];
  const bar = (name, value, holds, wanted) =>
    value !== null &&
    value !== undefined &&
    bars.push([name, number(value, 2), wanted, holds(value) ? 'met' : 'missed']);
  bar('throughput of PgBouncer’s, simple', ratio('simple', 'tps'), (v) => v >= 0.92, '≥ 0.92');
  bar('CPU a transaction of PgBouncer’s, simple', cpuRatio('simple'), (v) => v <= 1.25, '≤ 1.25');
  bar('p99 of PgBouncer’s, simple', ratio('simple', 'p99'), (v) => v <= 1.25, '≤ 1.25');
  bar('user CPU µs a transaction, simple', middle('simple', 'Sluice', 'user'), (v) => v <= 6, '≤ 6');
  if (protocols.includes('extended'))
    bar(
      'extended throughput of simple',
      middle('extended', 'Sluice', 'tps') / middle('simple', 'Sluice', 'tps'),
      (v) => v >= 0.95,
      '≥ 0.95',
    );
  bar('prepared throughput of PgBouncer’s', ratio('prepared', 'tps'), (v) => v >= 0.9, '≥ 0.90');
  for (const m of memory)
    if (m.pooler === 'Sluice' && m.clients > 0)
      bar(`kB an idle client of ${m.clients}`, m.perClient / 1000, (v) => v < 10, '< 10');
  if (logins.some(({ pooler }) => pooler === 'PgBouncer'))
    bar(
      'SCRAM logins of PgBouncer’s',
      rate('Sluice', 'scram-sha-256') / rate('PgBouncer', 'scram-sha-256'),
      (v) => v >= 1,
      '≥ 1',
    );
  const { cores, model, memoryGiB, kernel, node, postgres, pgbouncer } = machine;
  return `# Benchmark

${cores} cores (${model}), ${memoryGiB} GiB, Linux ${kernel}; Node ${node}, PostgreSQL ${postgres}, ${pgbouncer ?? 'no PgBouncer'}.
Load: ${load.tool}, ${load.clients} clients, pool of ${load.pool}, ${load.rounds} rounds of ${load.seconds} s in turn; medians; ratios round by round. All on loopback.

${traffic}

${memoryTable}

${loginTable}

${table(['bar', 'measured', 'to reach', ''], bars)}
`;
}

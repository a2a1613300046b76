/** npm run sim: [--schedules N] [--seconds S] [--seed N [--trace]]. Exit code 1 when an invariant was broken. */
import { parseArgs } from 'node:util';
import { runSeed, simulate } from './run.ts';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string' },
    seconds: { type: 'string' },
    seed: { type: 'string' },
    trace: { type: 'boolean' },
  },
});

if (values.seed !== undefined) {
  const failure = runSeed(Number(values.seed), new Set());
  if (failure === null) console.log(`seed ${values.seed}: every invariant held`);
  else {
    if (values.trace) console.log(failure.trace.join('\n'));
    console.error(`seed ${failure.seed}: ${failure.message}`);
    process.exitCode = 1;
  }
} else {
  const end = Date.now() + Number(values.seconds ?? 60) * 1000;
  const first = Math.floor(Math.random() * 2 ** 40);
  const count = Number(values.schedules ?? (values.seconds === undefined ? 10_000 : Number.MAX_SAFE_INTEGER));
  const { schedules, failures, neverMoved } = simulate(
    first,
    count,
    values.seconds === undefined ? undefined : () => Date.now() > end,
  );
  console.log(`${schedules} schedules from seed ${first}, ${failures.length} failed`);
  if (neverMoved.length > 0) console.log(`moves never made: ${neverMoved.join(', ')}`);
  for (const { seed, message } of failures)
    console.error(`seed ${seed}: ${message}\n  replay: npm run sim -- --seed ${seed} --trace`);
  if (failures.length > 0) process.exitCode = 1;
}

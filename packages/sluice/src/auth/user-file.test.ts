import type { Secret } from '@sluice/wire';
import { beforeEach, describe, expect, test } from 'vitest';
import { UserFile } from './user-file.ts';

describe('auth_file', () => {
  let now = 0;
  let files: Record<string, string> = {};
  let reads = 0;
  let users: ReadonlyMap<string, Secret> = new Map();
  let logged: string[] = [];
  let file: UserFile;
  let writtenAt = 0;
  /** What is written to it, and when. */
  let later: [number, string][] = [];
  const write = (text: string, at = now) => {
    files.a = text;
    writtenAt = at;
  };

  beforeEach(() => {
    now = 0;
    reads = 0;
    logged = [];
    writtenAt = -1_000;
    later = [];
    users = new Map();
    files = { a: '"bob" "one"\n' };
    const get = async (path: string) => {
      const text = files[path];
      if (text === undefined) throw new Error('no such file');
      return text;
    };
    file = new UserFile({
      stamp: async (path) => ({ of: await get(path), ageMs: now - writtenAt }),
      wait: async (ms) => {
        now += ms;
        for (const [at, text] of later.splice(0))
          if (at > now) later.push([at, text]);
          else write(text, at);
      },
      read: (path) => {
        reads++;
        return get(path);
      },
      now: () => now,
      changed: (read) => {
        users = read;
      },
      warn: (message) => logged.push(message),
      error: (message) => logged.push(message),
    });
  });

  test('is read once, however many log in at once, and again when it has changed', async () => {
    await Promise.all([file.refresh('a'), file.refresh('a'), file.refresh('a')]);
    expect([reads, users.get('bob')]).toEqual([1, { kind: 'plain', password: 'one' }]);
    files.a = '"bob" "two"\n';
    await file.refresh('a');
    expect(reads).toBe(1);
    now += 1_000;
    await file.refresh('a');
    expect([reads, users.get('bob')]).toEqual([2, { kind: 'plain', password: 'two' }]);
    now += 1_000;
    await file.refresh('a');
    expect(reads).toBe(2);
  });

  test('that is gone keeps its users, and is said to be gone once', async () => {
    await file.refresh('a');
    files = {};
    for (let i = 0; i < 3; i++) {
      now += 1_000;
      await file.refresh('a');
    }
    expect(users.has('bob')).toBe(true);
    expect(logged).toEqual(['could not open auth_file a: no such file']);
    files.a = '"eve" "x"\nbroken\n';
    now += 1_000;
    await file.refresh('a');
    expect([...users.keys()]).toEqual(['eve']);
    expect(logged[1]).toMatch(/^a:2: broken auth file/);
  });

  test('that is being rewritten in place is read when that is done', async () => {
    await file.refresh('a');
    now += 1_000;
    write('');
    later = [
      [now + 30, '"bob" "tw'],
      [now + 60, '"bob" "two"\n"ann" "x"\n'],
    ];
    await file.refresh('a');
    expect([...users.keys()]).toEqual(['bob', 'ann']);
    expect(logged).toEqual([]);
    expect(now).toBeLessThan(1_200);
  });

  test('that is written all the time is not waited for for ever', async () => {
    await file.refresh('a');
    now += 1_000;
    write('"bob" "two"\n');
    later = Array.from({ length: 100 }, (_, i) => [now + i * 20, `"bob" "${i}"\n`]);
    await file.refresh('a');
    expect(now).toBeLessThan(2_300);
  });

  test('that has lost all its users is believed after five seconds', async () => {
    await file.refresh('a');
    now += 1_000;
    write('');
    for (let i = 0; i < 4; i++) {
      await file.refresh('a');
      expect(users.has('bob')).toBe(true);
      now += 1_100;
    }
    now += 1_000;
    await file.refresh('a');
    expect(users.size).toBe(0);
  });

  test('of another path is read at once', async () => {
    await file.refresh('a');
    files.b = '"ann" "x"\n';
    await file.refresh('b');
    expect([...users.keys()]).toEqual(['ann']);
    await file.refresh('');
    expect([...users.keys()]).toEqual(['ann']);
  });
});

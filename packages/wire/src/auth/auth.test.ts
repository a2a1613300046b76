import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CryptoPort,
  formatScramSecret,
  fromBase64,
  md5Response,
  md5Secret,
  parseSecret,
  ScramClient,
  ScramError,
  type ScramSecret,
  ScramServer,
  saslprep,
  scramSecret,
  toBase64,
  verifyPlainPassword,
} from './index.ts';

const crypto: CryptoPort = {
  randomBytes: (size) => randomBytes(size),
  sha256: (data) => createHash('sha256').update(data).digest(),
  hmacSha256: (key, data) => createHmac('sha256', key).update(data).digest(),
  md5: (data) => createHash('md5').update(data).digest(),
  pbkdf2Sha256: async (password, salt, iterations) => pbkdf2Sync(password, salt, iterations, 32, 'sha256'),
  timingSafeEqual: (a, b) => a.length === b.length && timingSafeEqual(a, b),
};

const bytes = (text: string) => new TextEncoder().encode(text);
const SALT = bytes('0123456789abcdef');

async function exchange(
  secret: ScramSecret,
  client: ScramClient,
  options = { mechanism: 'SCRAM-SHA-256', endPoint: null as Uint8Array | null, doomed: false },
) {
  const server = new ScramServer(crypto, secret, options);
  const challenge = server.first(client.first().data);
  const outcome = server.final(await client.answer(challenge));
  if (outcome.ok) client.verify(outcome.message);
  return outcome;
}

const plain = { mechanisms: ['SCRAM-SHA-256'], endPoint: null };

describe('SCRAM', () => {
  test('the keys of RFC 7677’s example', async () => {
    const secret = await scramSecret(crypto, 'pencil', fromBase64('W22ZaJ0SNY7soEsUEjb6gQ==')!, 4096);
    const auth = bytes(
      'n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    );
    expect(toBase64(crypto.hmacSha256(secret.serverKey, auth))).toBe('6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
    const proof = fromBase64('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=')!;
    const signature = crypto.hmacSha256(secret.storedKey, auth);
    expect(Buffer.from(crypto.sha256(proof.map((byte, i) => byte ^ signature[i]!)))).toEqual(
      Buffer.from(secret.storedKey),
    );
  });

  test('any password lets in, by password and by the keys of an earlier login; any other does not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'grapheme', minLength: 1 }),
        fc.string({ unit: 'grapheme', minLength: 1 }),
        async (password, other) => {
          const secret = await scramSecret(crypto, password, SALT, 5);
          const first = await exchange(secret, new ScramClient(crypto, { password }, plain));
          if (!first.ok) throw new Error(first.reason);
          expect((await exchange(secret, new ScramClient(crypto, { keys: first.keys }, plain))).ok).toBe(true);
          if (saslprep(other) !== saslprep(password))
            expect((await exchange(secret, new ScramClient(crypto, { password: other }, plain))).ok).toBe(false);
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each([
    ['empty', ''],
    ['truncated', 'secre'],
    ['longer', 'secret '],
    ['other case', 'SECRET'],
    ['very long', 'x'.repeat(65_534)],
  ])('a password that is %s does not pass', async (_, wrong) => {
    const secret = await scramSecret(crypto, 'secret', SALT, 5);
    expect((await exchange(secret, new ScramClient(crypto, { password: wrong }, plain))).ok).toBe(false);
  });

  test('a doomed exchange fails at its end even with the right password', async () => {
    const secret = await scramSecret(crypto, 'secret', SALT, 5);
    const outcome = await exchange(secret, new ScramClient(crypto, { password: 'secret' }, plain), {
      mechanism: 'SCRAM-SHA-256',
      endPoint: null,
      doomed: true,
    });
    expect(outcome).toEqual({ ok: false, reason: 'wrong password' });
  });

  test('channel binding: both ends of one TLS connection agree, a man in the middle does not', async () => {
    const secret = await scramSecret(crypto, 'secret', SALT, 5);
    const endPoint = randomBytes(32);
    const offered = { mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'], endPoint };
    const plus = { mechanism: 'SCRAM-SHA-256-PLUS', endPoint, doomed: false };
    expect((await exchange(secret, new ScramClient(crypto, { password: 'secret' }, offered), plus)).ok).toBe(true);
    expect(
      (
        await exchange(secret, new ScramClient(crypto, { password: 'secret' }, offered), {
          ...plus,
          endPoint: randomBytes(32),
        })
      ).ok,
    ).toBe(false);
  });

  test('an offer of channel binding that was taken away on the wire is noticed', () => {
    const client = new ScramClient(
      crypto,
      { password: 'secret' },
      { mechanisms: ['SCRAM-SHA-256'], endPoint: randomBytes(32) },
    );
    const server = new ScramServer(
      crypto,
      { kind: 'scram', iterations: 1, salt: SALT, storedKey: SALT, serverKey: SALT },
      { mechanism: 'SCRAM-SHA-256', endPoint: randomBytes(32), doomed: false },
    );
    expect(() => server.first(client.first().data)).toThrow(ScramError);
  });

  test('a server that does not know the secret is found out', async () => {
    const secret = await scramSecret(crypto, 'secret', SALT, 5);
    const client = new ScramClient(crypto, { password: 'secret' }, plain);
    const server = new ScramServer(
      crypto,
      { ...secret, serverKey: randomBytes(32) },
      { mechanism: 'SCRAM-SHA-256', endPoint: null, doomed: false },
    );
    const outcome = server.final(await client.answer(server.first(client.first().data)));
    if (!outcome.ok) throw new Error(outcome.reason);
    expect(() => client.verify(outcome.message)).toThrow(/does not know the secret/);
  });

  test('malformed messages are refused with a coded error', async () => {
    const secret = await scramSecret(crypto, 'secret', SALT, 5);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (garbage) => {
        const server = new ScramServer(crypto, secret, { mechanism: 'SCRAM-SHA-256', endPoint: null, doomed: false });
        try {
          server.first(garbage);
        } catch (error) {
          expect(error).toBeInstanceOf(ScramError);
        }
        expect(server.final(garbage).ok).toBe(false);
        await expect(new ScramClient(crypto, { password: 'x' }, plain).answer(garbage)).rejects.toBeInstanceOf(
          ScramError,
        );
      }),
    );
  });
});

describe('secrets', () => {
  test('are told apart as PostgreSQL does', async () => {
    const scram = formatScramSecret(await scramSecret(crypto, 'secret', SALT, 4096));
    expect(parseSecret(scram)).toMatchObject({ kind: 'scram', iterations: 4096 });
    expect(formatScramSecret(parseSecret(scram) as ScramSecret)).toBe(scram);
    expect(parseSecret(`md5${'a'.repeat(32)}`).kind).toBe('md5');
    for (const near of [`md5${'a'.repeat(31)}`, `md5${'A'.repeat(32)}`, scram.slice(0, -2), 'SCRAM-SHA-256$x', ''])
      expect(parseSecret(near).kind).toBe('plain');
  });

  test('md5 answers as PostgreSQL computes them', () => {
    expect(md5Secret(crypto, 'bob', 'secret')).toBe(`md5${createHash('md5').update('secretbob').digest('hex')}`);
    const salt = Uint8Array.of(1, 2, 3, 4);
    expect(md5Response(crypto, 'bob', { kind: 'plain', password: 'secret' }, salt)).toBe(
      md5Response(crypto, 'bob', { kind: 'md5', hash: md5Secret(crypto, 'bob', 'secret') }, salt),
    );
  });

  test.each(['plain', 'md5', 'scram'])('a plain password is verified against a %s secret', async (kind) => {
    const secret =
      kind === 'plain'
        ? parseSecret('secret')
        : kind === 'md5'
          ? parseSecret(md5Secret(crypto, 'bob', 'secret'))
          : await scramSecret(crypto, 'secret', SALT, 5);
    expect(await verifyPlainPassword(crypto, 'bob', secret, 'secret')).toBe(true);
    for (const wrong of ['', 'secre', 'secrets', 'Secret'])
      expect(await verifyPlainPassword(crypto, 'bob', secret, wrong)).toBe(false);
  });

  test('base64 is strict, and goes round', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (data) => {
        expect(Buffer.from(fromBase64(toBase64(data))!)).toEqual(Buffer.from(data));
      }),
    );
    const canonical = (text: string) => Buffer.from(text, 'base64').toString('base64') === text;
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'AQgwZz09+/=-_ é'), maxLength: 12 }), (text) => {
        const bytes = fromBase64(text);
        if (canonical(text)) expect(Buffer.from(bytes!)).toEqual(Buffer.from(text, 'base64'));
        else expect(bytes).toBeNull();
      }),
      { numRuns: 3_000 },
    );
    for (const bad of ['a', 'ab=c', 'ab==c', 'a===', 'YR==', 'Y Q=']) expect(fromBase64(bad)).toBeNull();
  });

  test('SASLprep maps and normalises, and leaves alone what it forbids', () => {
    expect(saslprep('I\u00ADX')).toBe('IX');
    expect(saslprep('\u2168')).toBe('IX');
    expect(saslprep('\u00AA')).toBe('a');
    expect(saslprep('a\u00A0b')).toBe('a b');
    expect(saslprep('\u0007')).toBe('\u0007');
    expect(saslprep('\u06271')).toBe('\u06271');
  });
});

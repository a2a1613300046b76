/** The names of character sets, as PostgreSQL reports them and as clients may write them (its manual, "Character Set Support"). */

/** As they are reported. */
const NAMES = [
  'BIG5 EUC_CN EUC_JIS_2004 EUC_JP EUC_KR EUC_TW GB18030 GBK JOHAB KOI8R KOI8U MULE_INTERNAL SHIFT_JIS_2004 SJIS SQL_ASCII UHC UTF8',
  'ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8',
  'LATIN1 LATIN2 LATIN3 LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10',
  'WIN866 WIN874 WIN1250 WIN1251 WIN1252 WIN1253 WIN1254 WIN1255 WIN1256 WIN1257 WIN1258',
].flatMap((line) => line.split(' '));

/** Other words for them. */
const ALIASES: Readonly<Record<string, string>> = {
  abc: 'WIN1258',
  alt: 'WIN866',
  iso88591: 'LATIN1',
  iso88592: 'LATIN2',
  iso88593: 'LATIN3',
  iso88594: 'LATIN4',
  iso88599: 'LATIN5',
  iso885910: 'LATIN6',
  iso885913: 'LATIN7',
  iso885914: 'LATIN8',
  iso885915: 'LATIN9',
  iso885916: 'LATIN10',
  koi8: 'KOI8R',
  mskanji: 'SJIS',
  shiftjis: 'SJIS',
  tcvn: 'WIN1258',
  tcvn5712: 'WIN1258',
  unicode: 'UTF8',
  vscii: 'WIN1258',
  win: 'WIN1251',
  win932: 'SJIS',
  win936: 'GBK',
  win949: 'UHC',
  win950: 'BIG5',
  windows932: 'SJIS',
  windows936: 'GBK',
  windows949: 'UHC',
  windows950: 'BIG5',
};

/** PostgreSQL compares them without case, dashes and underscores. */
const keyOf = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');

const BY_KEY = new Map([...NAMES.map((name): [string, string] => [keyOf(name), name]), ...Object.entries(ALIASES)]);

/** As PostgreSQL reports it; one that it does not have is as it was written. */
export function canonicalEncoding(name: string): string {
  const key = keyOf(name);
  return BY_KEY.get(key) ?? BY_KEY.get(key.replace(/^windows/, 'win')) ?? name;
}

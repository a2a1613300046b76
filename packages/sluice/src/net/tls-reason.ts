/** OpenSSL's reason in an error's message, without its number, library and place ("wrong version number"); null: it is none of OpenSSL's. */
export function opensslReason(message: string): string | null {
  const parts = /^(?:.*:)?error:[0-9A-F]+:(.+)$/s.exec(message)?.[1]?.trim().split(':');
  return parts?.[2] ?? null;
}

/**
 * The OpenSSL that Node has inside, called through koffi as the C library is (libc.ts): Node exports it for native add-ons
 * (nodejs.org/api/addons.html, "Linking to libraries included with Node.js"). Contexts are made by Node (tls-context.ts) with all their
 * settings; they are Node's `SSL_CTX`, found by the address that Node shows of its handle. One that is used here must never be used with
 * Node's own sockets: they leave functions in it that know only those. Owns the functions, by OpenSSL's names; what they do is in its manual.
 */
import { createSecureContext, type SecureContext } from 'node:tls';
import { inspect } from 'node:util';
import { addressIn, koffi, type Library, libc } from './libc.ts';
import { findLoop, HOT } from './shared-bytes.ts';

/** Where something is in memory. 0: nowhere. */
export type Address = number;

/** PostgreSQL's protocol in ALPN (TLS identifier registered with IANA), as it stands in the message. */
export const ALPN_NAMES = Buffer.from('\x0apostgresql', 'latin1');

const SSL_VERIFY_PEER = 1;
const OPENSSL_NPN_NEGOTIATED = 1;
const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_ALERT_FATAL = 2;

type Call = (...given: (number | string | null)[]) => number;

function bind(library: Library) {
  const call = (signature: string) => library.func(signature) as Call;
  const text = (signature: string) => library.func(signature) as (...given: number[]) => string | null;
  return {
    SSL_new: call('uintptr_t SSL_new(uintptr_t context)'),
    SSL_free: call('void SSL_free(uintptr_t ssl)'),
    SSL_set_bio: call('void SSL_set_bio(uintptr_t ssl, uintptr_t read, uintptr_t write)'),
    SSL_set_accept_state: call('void SSL_set_accept_state(uintptr_t ssl)'),
    SSL_set_connect_state: call('void SSL_set_connect_state(uintptr_t ssl)'),
    SSL_ctrl: call('int64_t SSL_ctrl(uintptr_t ssl, int command, int64_t number, uintptr_t address)'),
    /** The same with a text. */
    SSL_ctrl_text: call('int64_t SSL_ctrl(uintptr_t ssl, int command, int64_t number, const char *text)'),
    SSL_set_options: call('uint64_t SSL_set_options(uintptr_t ssl, uint64_t options)'),
    SSL_set_num_tickets: call('int SSL_set_num_tickets(uintptr_t ssl, size_t number)'),
    SSL_set_alpn_protos: call('int SSL_set_alpn_protos(uintptr_t ssl, uintptr_t names, unsigned int size)'),
    SSL_get0_alpn_selected: call('void SSL_get0_alpn_selected(uintptr_t ssl, uintptr_t name, uintptr_t size)'),
    SSL_do_handshake: call('int SSL_do_handshake(uintptr_t ssl)'),
    SSL_read: call('int SSL_read(uintptr_t ssl, uintptr_t to, int size)'),
    SSL_write: call('int SSL_write(uintptr_t ssl, uintptr_t from, int size)'),
    SSL_shutdown: call('int SSL_shutdown(uintptr_t ssl)'),
    SSL_has_pending: call('int SSL_has_pending(uintptr_t ssl)'),
    SSL_get_error: call('int SSL_get_error(uintptr_t ssl, int returned)'),
    ERR_clear_error: call('void ERR_clear_error()'),
    ERR_get_error: call('unsigned long ERR_get_error()'),
    ERR_reason_error_string: text('const char *ERR_reason_error_string(unsigned long error)'),
    SSL_get_verify_result: call('int64_t SSL_get_verify_result(uintptr_t ssl)'),
    X509_verify_cert_error_string: text('const char *X509_verify_cert_error_string(int64_t error)'),
    SSL_get1_peer_certificate: call('uintptr_t SSL_get1_peer_certificate(uintptr_t ssl)'),
    i2d_X509: call('int i2d_X509(uintptr_t certificate, uintptr_t to)'),
    X509_free: call('void X509_free(uintptr_t certificate)'),
    SSL_get_current_cipher: call('uintptr_t SSL_get_current_cipher(uintptr_t ssl)'),
    SSL_CIPHER_get_name: text('const char *SSL_CIPHER_get_name(uintptr_t cipher)'),
    SSL_get_version: text('const char *SSL_get_version(uintptr_t ssl)'),
    SSL_CIPHER_get_kx_nid: call('int SSL_CIPHER_get_kx_nid(uintptr_t cipher)'),
    OBJ_nid2sn: text('const char *OBJ_nid2sn(int nid)'),
    BIO_new: call('uintptr_t BIO_new(uintptr_t kind)'),
    BIO_s_mem: call('uintptr_t BIO_s_mem()'),
    BIO_up_ref: call('int BIO_up_ref(uintptr_t bio)'),
    BIO_write: call('int BIO_write(uintptr_t bio, uintptr_t from, int size)'),
    BIO_read: call('int BIO_read(uintptr_t bio, uintptr_t to, int size)'),
    BIO_ctrl_pending: call('size_t BIO_ctrl_pending(uintptr_t bio)'),
    BIO_ctrl: call('int64_t BIO_ctrl(uintptr_t bio, int command, int64_t number, uintptr_t address)'),
    ...callingBack(library),
  };
}

/** Functions that are given one of ours. */
function callingBack(library: Library) {
  const { proto, pointer, register } = koffi();
  const call = (...signature: [name: string, returns: string, takes: unknown[]]) =>
    (library.func as (...given: unknown[]) => unknown)(...signature) as (...given: unknown[]) => number;
  const select = pointer(proto('int', [...Array(4).fill('uintptr_t'), 'unsigned int', 'uintptr_t']));
  const verify = pointer(proto('int', ['int', 'uintptr_t']));
  const setSelect = call('SSL_CTX_set_alpn_select_cb', 'void', ['uintptr_t', select, 'uintptr_t']);
  const setVerify = call('SSL_set_verify', 'void', ['uintptr_t', 'int', verify]);
  const selectOf = ['uintptr_t', 'uintptr_t', 'uintptr_t', 'unsigned int', 'uintptr_t', 'unsigned int'];
  const selectNext = call('SSL_select_next_proto', 'int', selectOf);
  const ours = [addressIn(ALPN_NAMES), ALPN_NAMES.length];
  const selectOurs = register((_ssl: Address, name: Address, size: Address, theirs: Address, theirSize: number) => {
    const result = selectNext(name, size, ...ours, theirs, theirSize);
    return result === OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
  }, select);
  const goOn = register(() => 1, verify);
  return {
    /** A client that knows ALPN must know PostgreSQL's. */
    agreeOnAlpn: (context: Address) => setSelect(context, selectOurs, 0),
    /** What is wrong with it is asked for after the handshake, when the other side can be told in words. */
    askForCertificate: (ssl: Address) => setVerify(ssl, SSL_VERIFY_PEER, goOn),
  };
}

export type OpenSsl = ReturnType<typeof bind>;

let bound: OpenSsl | null | undefined;

/** Null: it cannot be had, or connections are never hot here (hot-loop.ts): TLS is Node's then. */
export function openSsl(): OpenSsl | null {
  if (bound === undefined) bound = tryBind();
  return bound;
}

function tryBind(): OpenSsl | null {
  findLoop();
  if (HOT === null || addressOfContext(createSecureContext()) === 0) return null;
  try {
    return bind(libc());
  } catch {
    return null; // another library stands in its place, or it is not exported
  }
}

/** Where Node's `SSL_CTX` is; 0: Node does not tell. */
export function addressOfContext({ context }: SecureContext): Address {
  const external = (context as { _external?: unknown })._external;
  return Number.parseInt(/^\[External: ([0-9a-f]+)\]$/.exec(inspect(external))?.[1] ?? '0', 16);
}

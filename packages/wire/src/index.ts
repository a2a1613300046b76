/** @sluice/wire: the PostgreSQL protocol. No I/O, knows no pools. */
export * from './auth/index.ts';
export * from './messages/index.ts';
export { applyStatement, FOLLOWED_PARAMETERS, ParameterNames, Parameters, sqlLiteral } from './parameters.ts';
export * from './relay/index.ts';
export { decodeText, encodeText, isText } from './text.ts';

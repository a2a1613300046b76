export * from './backend.ts';
export * from './frontend.ts';
export * from './parse-backend.ts';
export * from './parse-frontend.ts';
export { ProtocolError } from './reader.ts';
export { concat } from './writer.ts';

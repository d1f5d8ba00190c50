/**
 * `@fanfare/client/browser`: for pages without a bundler, as the global `fanfare` of one script. Events, publishing, requests and
 * presence are what a client has.
 */

export { createClient } from './client.ts';
export { FanfareError } from './error.ts';

/** Tokens, as an app's backend mints them. */

import { createHmac } from 'node:crypto';
import { SECRET } from './node.ts';

export interface TokenGrant {
  tenant: string;
  user: string;
  /** How long it is valid, in seconds. */
  lifetimeS: number;
}

/** A token that allows everything within the tenant. */
export function mintToken({ tenant, user, lifetimeS }: TokenGrant): string {
  const claims = {
    sub: user,
    tenant,
    exp: Math.floor(Date.now() / 1000) + lifetimeS,
    channels: ['**'],
    publish: ['**'],
    methods: ['**'],
  };
  const signed = [{ alg: 'HS256', typ: 'JWT' }, claims].map(base64url).join('.');
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

function base64url(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

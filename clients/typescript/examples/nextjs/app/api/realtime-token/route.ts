import { mintToken } from '@fanfare/server/token';

/** A token for whoever is logged in. */
export async function GET(): Promise<Response> {
  const user = await whoIs();
  const token = await mintToken({
    secret: process.env.FANFARE_JWT_HS256_SECRET ?? '',
    tenant: 'acme',
    user: user.id,
    channels: ['orders'],
    expiresInS: 600,
  });
  return new Response(token, { headers: { 'Cache-Control': 'no-store' } });
}

// However your application knows its users: a cookie, a session.
async function whoIs() {
  return { id: 'guest' };
}

/** The one client. */

import { createClient } from '@fanfare/client';
import { getToken } from './token';

export const client = createClient({ url: '/ws', getToken });

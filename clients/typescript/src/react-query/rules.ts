/** Rules whose `patch` gets the query client of TanStack Query 5, for apps that write them in files of their own. */

import type { QueryClient } from '@tanstack/react-query';
import type { RegisteredContract } from '../index.ts';
import type { Rules as RulesFor } from '../query.ts';

/** To be written as `export const orderRules = { … } satisfies Rules`. */
export type Rules<C = RegisteredContract> = RulesFor<C, QueryClient>;

import { expect, test } from 'vitest';
import { mistakesIn } from './compiler.ts';
import { PAGES, type Snippet, snippetsOf } from './snippets.ts';

test('every snippet in the documents compiles against the package', () => {
  const snippets = PAGES.flatMap(snippetsOf);
  expect(snippets.length).toBeGreaterThan(40);
  expect(mistakesIn(snippets)).toEqual([]);
}, 120_000);

test('a mistake in a snippet would be found, with the contract of its page and without', () => {
  const page = 'docs/none.md';
  const wrong = (line: number, text: string): Snippet => ({ page, line, language: 'ts', label: '', text });
  const contract =
    "declare module '@fanfare/client' { interface Register { contract: { channels: { orders: 'x' } } } }\nexport {};\n";
  const asks = (channel: string) =>
    `import './contract';\nimport { client } from './realtime';\nclient.channel('${channel}').subscribe();\n`;
  const mistakes = mistakesIn([
    wrong(10, "import { createClient } from '@fanfare/client';\ncreateClient({ url: '/ws' });\n"),
    wrong(20, "import { useTelepathy } from '@fanfare/client/react';\nuseTelepathy();\n"),
    { page, line: 30, language: 'ts', label: 'src/contract.ts', text: contract },
    wrong(40, asks('orders')),
    wrong(50, asks('order')),
    wrong(60, "import { client } from './realtime';\nclient.channel('anything').subscribe();\n"),
  ]);
  expect(mistakes.map((mistake) => mistake.split(': ')[0])).toEqual([`${page}:11`, `${page}:20`, `${page}:52`]);
}, 120_000);

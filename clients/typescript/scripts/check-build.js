// Whether what was built is what package.json promises: every entry is there, types come first, and the React entries still begin with
// 'use client', without which a page of Next.js's app router can't import them.
import { readFile } from 'node:fs/promises';

const CLIENT_ENTRIES = ['./react', './react-query'];
const { exports, sideEffects } = JSON.parse(await readFile('package.json', 'utf8'));
const complaints = [];

for (const [entry, paths] of Object.entries(exports)) {
  const conditions = typeof paths === 'string' ? { default: paths } : paths;
  if (conditions.types && Object.keys(conditions)[0] !== 'types') {
    complaints.push(`${entry}: types must come first`);
  }
  for (const path of Object.values(conditions)) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (!text) {
      complaints.push(`${entry}: ${path} was not built`);
    } else if (CLIENT_ENTRIES.includes(entry) && path.endsWith('.js') && !text.startsWith("'use client'")) {
      complaints.push(`${entry}: ${path} does not begin with 'use client'`);
    }
  }
}
if (sideEffects !== false) {
  complaints.push('sideEffects must be false');
}

for (const complaint of complaints) {
  console.error(complaint);
}
process.exitCode = complaints.length > 0 ? 1 : 0;

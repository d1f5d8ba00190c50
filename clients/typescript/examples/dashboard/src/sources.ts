/** The sources that the pages show of themselves. */

const TEXTS = import.meta.glob<string>(['./realtime.ts', './apps/*/live.ts', '../backend/apps/*.ts'], {
  query: '?raw',
  import: 'default',
  eager: true,
});

export interface Source {
  label: string;
  /** Within the example. */
  file: string;
  text: string;
}

export function sourcesOf(app: string): [Source, ...Source[]] {
  const source = (label: string, path: string): Source => ({
    label,
    file: path.startsWith('./') ? `src${path.slice(1)}` : path.slice(3),
    text: (TEXTS[path] ?? '').trim(),
  });
  return [
    source('This page', `./apps/${app}/live.ts`),
    source('The client', './realtime.ts'),
    source('The backend', `../backend/apps/${app}.ts`),
  ];
}

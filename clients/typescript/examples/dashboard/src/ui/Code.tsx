/** Source text, lightly coloured. */

import { useState } from 'react';
import type { Source } from '../sources.ts';
import { Segments } from './parts.tsx';

const WORDS =
  /(\/\*[\s\S]*?\*\/|\/\/[^\n]*)|('[^'\n]*'|`[^`]*`)|\b(import|from|export|const|type|function|return|satisfies|as|extends|keyof|async|await|new|undefined|null|true|false)\b|\b(createClient|bindQueryClient|liveQueryOptions|Rules|RealtimeProvider|use[A-Z]\w*)\b/g;

/** Some sources, of which one is shown. */
export function Code({ sources }: { sources: readonly [Source, ...Source[]] }) {
  const [chosen, choose] = useState(sources[0].label);
  const { file, text } = sources.find(({ label }) => label === chosen) ?? sources[0];
  return (
    <section className="card code">
      <header className="code-head">
        <h2>What makes it live</h2>
        <Segments
          label="Source"
          options={sources.map(({ label }) => ({ value: label, label }))}
          value={chosen}
          onChange={choose}
        />
        <code>{file}</code>
        <small>{text.split('\n').length} lines</small>
      </header>
      <pre>
        <code>{coloured(text)}</code>
      </pre>
    </section>
  );
}

function coloured(text: string) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(WORDS)) {
    const [word, comment, string, keyword] = match;
    const kind = comment ? 'comment' : string ? 'string' : keyword ? 'keyword' : 'sdk';
    parts.push(
      text.slice(end, match.index),
      <span key={match.index} className={kind}>
        {word}
      </span>,
    );
    end = match.index + word.length;
  }
  return [...parts, text.slice(end)];
}

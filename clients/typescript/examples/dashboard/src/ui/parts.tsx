/** Small parts that all pages are made of. */

import type { CSSProperties, ReactNode } from 'react';

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'plain';

export function Card({ title, note, children }: { title: string; note?: ReactNode; children: ReactNode }) {
  return (
    <section className="card">
      <header className="card-head">
        <h2>{title}</h2>
        {note !== undefined && <small>{note}</small>}
      </header>
      {children}
    </section>
  );
}

/** A figure that lights up when it changes. */
export function Tile({ label, value }: { label: string; value: ReactNode }) {
  return (
    <dl className="card tile">
      <dt>{label}</dt>
      <dd>
        <Flash of={String(value)}>{value}</Flash>
      </dd>
    </dl>
  );
}

export function Pill({ tone, children }: { tone: Tone; children: ReactNode }) {
  return (
    <span className="pill" data-tone={tone}>
      {children}
    </span>
  );
}

/** A share of a whole, 0 to 1. */
export function Bar({ share, label, tone }: { share: number; label: string; tone?: Tone }) {
  const percent = Math.round(Math.min(1, Math.max(0, share)) * 100);
  return (
    <div className="bar" role="img" aria-label={`${label}: ${percent} %`} data-tone={tone}>
      <i style={{ width: `${percent}%` }} />
    </div>
  );
}

/** Lights up for a moment whenever `of` is another one. */
export function Flash({ of, children }: { of: string; children: ReactNode }) {
  return (
    <span key={of} className="flash">
      {children}
    </span>
  );
}

export function Avatar({ name }: { name: string }) {
  const initials = name
    .split(' ')
    .map((word) => word[0]?.toUpperCase())
    .join('')
    .slice(0, 2);
  const hue = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0) * 7, 0) % 360;
  return (
    <span className="avatar" style={{ '--hue': hue } as CSSProperties} title={name} aria-hidden="true">
      {initials}
    </span>
  );
}

/** The course of some values, oldest first. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  if (values.length < 2) return <div className="sparkline" />;
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const points = values.map((value, index) => {
    const x = (index / (values.length - 1)) * 100;
    return `${x.toFixed(1)},${(29 - ((value - low) / span) * 26).toFixed(1)}`;
  });
  return (
    <svg className="sparkline" viewBox="0 0 100 32" preserveAspectRatio="none" role="img" aria-label={label}>
      <polygon points={`0,32 ${points.join(' ')} 100,32`} fill="var(--accent)" opacity="0.1" />
      <polyline
        points={points.join(' ')}
        fill="none"
        stroke="var(--accent)"
        strokeWidth="2"
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  );
}

/** One of a few. */
export function Segments<T extends string>(props: {
  label: string;
  options: readonly { value: T; label: string }[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <fieldset className="segments" aria-label={props.label}>
      {props.options.map(({ value, label }) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChange(value)}>
          {label}
        </button>
      ))}
    </fieldset>
  );
}

/** What a page is about, and what can be done with all of it. */
export function PageHead({ title, about, children }: { title: string; about: string; children?: ReactNode }) {
  return (
    <header className="page-head">
      <div>
        <h1>{title}</h1>
        <p>{about}</p>
      </div>
      {children && <div className="page-tools">{children}</div>}
    </header>
  );
}

/** Toasts: `toast('Saved')` from anywhere, `<Toasts />` once. */

import { useSyncExternalStore } from 'react';
import type { Tone } from './parts.tsx';

interface Toast {
  id: number;
  title: string;
  text: string;
  tone: Tone;
}

const SHOWN_MS = 4500;
const SHOWN_MAX = 4;

let toasts: readonly Toast[] = [];
let count = 0;
const listeners = new Set<() => void>();

export function toast(title: string, text = '', tone: Tone = 'plain'): void {
  count += 1;
  const id = count;
  show([...toasts, { id, title, text, tone }].slice(-SHOWN_MAX));
  setTimeout(() => show(toasts.filter((toast) => toast.id !== id)), SHOWN_MS);
}

export function Toasts() {
  const shown = useSyncExternalStore(listen, () => toasts);
  return (
    <div className="toasts" role="status">
      {shown.map(({ id, title, text, tone }) => (
        <div key={id} className="toast" data-tone={tone}>
          {title}
          {text && <small>{text}</small>}
        </div>
      ))}
    </div>
  );
}

function show(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

function listen(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

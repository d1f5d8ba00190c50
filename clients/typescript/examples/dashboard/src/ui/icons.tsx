/** Icons, drawn on 24 by 24. They stand beside a text, so that nobody needs them. */

const PATHS = {
  workshops: 'M3 5h18v11H3zM12 16v4M8 20h8M8 12l3-3 2 2 3-3',
  lab: 'M9 3h6M10 3v6l-5 9a2 2 0 0 0 2 3h10a2 2 0 0 0 2-3l-5-9V3M7.5 15h9',
  agency: 'M4 20V10M10 20V4M16 20v-8M22 20H2',
  auction: 'M14 4l6 6M11 7l6 6M12.5 5.5l6 6M13 11l-8.5 8.5M12 21h9',
  shifts: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3.5 2',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" fill="#4f46e5" />
      <path d="M8 19.5v-7l12-4.5v16z" fill="#fff" />
      <path d="M23 12a5 5 0 0 1 0 8" fill="none" stroke="#fff" strokeWidth="2.2" strokeLinecap="round" />
    </svg>
  );
}

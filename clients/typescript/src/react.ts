'use client';

/** React hooks for Fanfare: one connection for the whole app, held while something that is mounted needs it. */

export { ConnectionStatus, type ConnectionStatusProps, type ConnectionStatusView } from './react/connection-status.tsx';
export type { ListenOptions, TypeFor } from './react/listening.ts';
export { RealtimeProvider, type RealtimeProviderProps, useClient } from './react/provider.tsx';
export { useChannel } from './react/use-channel.ts';
export { useConnectionHealth } from './react/use-connection-health.ts';
export { useEvent } from './react/use-event.ts';
export { type EventStateOptions, useEventState } from './react/use-event-state.ts';
export { usePresence } from './react/use-presence.ts';
export { type ReconnectToastOptions, useReconnectToast } from './react/use-reconnect-toast.ts';
export { type RequestHandle, useRequest } from './react/use-request.ts';
export { useWebSocket, type WebSocketHandle, type WebSocketOptions } from './react/use-web-socket.ts';

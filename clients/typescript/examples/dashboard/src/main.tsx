import { RealtimeProvider } from '@fanfare/client/react';
import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App.tsx';
import { client, queryClient } from './realtime.ts';
import './ui/base.css';
import './ui/parts.css';

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queryClient}>
        <RealtimeProvider client={client}>
          <App />
        </RealtimeProvider>
      </QueryClientProvider>
    </StrictMode>,
  );
}

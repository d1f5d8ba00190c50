/** People who don't exist. */

export const firstNames =
  'Amara Björn Chiara Dario Elif Farid Greta Hugo Ines Jamal Kaito Lena Mateo Nadia Oskar Paula Quinn Rosa Samir Tilda Uma'.split(
    ' ',
  );

export const lastNames =
  'Andersson Baker Costa Dubois Eriksen Fischer García Hughes Ivanova Jensen Larsen Moreau Novak Okafor Petrov Silva'.split(
    ' ',
  );

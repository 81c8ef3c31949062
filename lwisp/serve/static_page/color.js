// Camera color: the matrix from balanced camera RGB to linear Rec. 2020, as lwisp/imaging/camera_color.py has it.
// Matrices are arrays of rows.

const CANONICAL_TO_XYZ = [[0.636958, 0.1446169, 0.168881], [0.2627002, 0.6779981, 0.0593017], [0, 0.0280727, 1.0609851]];
const SRGB_TO_CANONICAL = [
  [0.6274039, 0.32928297, 0.043313045], [0.069097266, 0.9195404, 0.011362317], [0.016391419, 0.08801331, 0.8955953],
];
const BRADFORD = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];
const D50 = [0.3457, 0.3585];
const D65 = [0.3127, 0.329];
const ISOTHERMS = [ // mired, u, v, slope (Robertson 1968)
  [0, 0.18006, 0.26352, -0.24341], [10, 0.18066, 0.26589, -0.25479], [20, 0.18133, 0.26846, -0.26876],
  [30, 0.18208, 0.27119, -0.28539], [40, 0.18293, 0.27407, -0.3047], [50, 0.18388, 0.27709, -0.32675],
  [60, 0.18494, 0.28021, -0.35156], [70, 0.18611, 0.28342, -0.37915], [80, 0.1874, 0.28668, -0.40955],
  [90, 0.1888, 0.28997, -0.44278], [100, 0.19032, 0.29326, -0.47888], [125, 0.19462, 0.30141, -0.58204],
  [150, 0.19962, 0.30921, -0.70471], [175, 0.20525, 0.31647, -0.84901], [200, 0.21142, 0.32312, -1.0182],
  [225, 0.21807, 0.32909, -1.2168], [250, 0.22511, 0.33439, -1.4512], [275, 0.23247, 0.33904, -1.7298],
  [300, 0.2401, 0.34308, -2.0637], [325, 0.24792, 0.34655, -2.4681], [350, 0.25591, 0.34951, -2.9641],
  [375, 0.264, 0.352, -3.5814], [400, 0.27218, 0.35407, -4.3633], [425, 0.28039, 0.35577, -5.3762],
  [450, 0.28863, 0.35714, -6.7262], [475, 0.29685, 0.35823, -8.5955], [500, 0.30505, 0.35907, -11.324],
  [525, 0.3132, 0.35968, -15.628], [550, 0.32129, 0.36011, -23.325], [575, 0.32931, 0.36038, -40.77],
  [600, 0.33724, 0.36051, -116.45],
];
const KELVIN = { // of EXIF's light sources
  1: 5500, 2: 4150, 3: 2850, 4: 5500, 9: 5500, 10: 6500, 11: 7500, 12: 6400, 13: 5050, 14: 4150, 15: 3525, 16: 2925,
  17: 2850, 18: 5500, 19: 6500, 20: 5500, 21: 6500, 22: 7500, 23: 5000, 24: 3200,
};
const PASSES = 30; // of the iteration from a neutral to its light
const CLOSE = 1e-7; // change of x and y together at which it ends
const LARGEST_ENTRY = 10; // of a sound matrix

const times = (a, b) => a.map((row) => b[0].map((_, column) => row.reduce((sum, value, index) => sum + value * b[index][column], 0)));
const apply = (matrix, vector) => matrix.map((row) => row.reduce((sum, value, index) => sum + value * vector[index], 0));
const diagonal = (values) => values.map((value, row) => values.map((_, column) => (row === column ? value : 0)));
const mix = (weights, matrices) =>
  matrices[0].map((row, r) => row.map((_, c) => weights.reduce((sum, weight, index) => sum + weight * matrices[index][r][c], 0)));
const toXyz = ([x, y]) => [x / y, 1, (1 - x - y) / y];

function determinant([a, b, c]) {
  return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
}

function isSound(matrix, least = 1e-9) {
  return matrix.flat().every(Number.isFinite) && Math.abs(determinant(matrix)) > least;
}

function inverse(matrix) {
  const [a, b, c] = matrix;
  const scale = 1 / determinant(matrix);
  return [
    [b[1] * c[2] - b[2] * c[1], a[2] * c[1] - a[1] * c[2], a[1] * b[2] - a[2] * b[1]],
    [b[2] * c[0] - b[0] * c[2], a[0] * c[2] - a[2] * c[0], a[2] * b[0] - a[0] * b[2]],
    [b[0] * c[1] - b[1] * c[0], a[1] * c[0] - a[0] * c[1], a[0] * b[1] - a[1] * b[0]],
  ].map((row) => row.map((value) => value * scale));
}

function normalizeRows(matrix) {
  return matrix.map((row) => {
    const sum = row[0] + row[1] + row[2];
    if (!(Math.abs(sum) > 1e-3)) throw new RangeError("a row of the color matrix sums to zero");
    return row.map((value) => value / sum);
  });
}

function temperatureOf([x, y]) {
  const divisor = -2 * x + 12 * y + 3;
  const place = [(4 * x) / divisor, (6 * y) / divisor];
  const heights = ISOTHERMS.map(([, u, v, slope]) => ((place[1] - v) - (place[0] - u) * slope) / Math.hypot(1, slope));
  let row = heights.findIndex((height, index) => index > 0 && height <= 0);
  if (row < 0) row = ISOTHERMS.length - 1;
  const over = Math.max(heights[row - 1], 0);
  const under = Math.max(-heights[row], 0);
  const share = over + under ? over / (over + under) : 0;
  return 1e6 / Math.max((1 - share) * ISOTHERMS[row - 1][0] + share * ISOTHERMS[row][0], 1e-3);
}

function adaptation(source, target) {
  const from = apply(BRADFORD, toXyz(source));
  const gains = apply(BRADFORD, toXyz(target)).map((value, index) => value / from[index]);
  return times(inverse(BRADFORD), times(diagonal(gains), BRADFORD));
}

// The calibrations of a DNG, from LibRaw's `dng_color`, by rising temperature; those that make no sense are left out.
function calibrationsOf(color) {
  const square = (matrix) => matrix.slice(0, 3).map((row) => row.slice(0, 3));
  const balance = color.dng_levels.analogbalance.slice(0, 3);
  const analog = balance.every((value) => value > 0) ? diagonal(balance) : diagonal([1, 1, 1]);
  const found = [];
  for (const one of color.dng_color.slice(0, 2)) {
    const matrix = square(one.colormatrix);
    const own = square(one.calibration);
    const brightest = Math.max(...apply(matrix, toXyz(D50)));
    if (!isSound(matrix) || !(brightest > 1e-6)) continue;
    const forward = square(one.forwardmatrix);
    const isTold = isSound(forward) && forward.every((row) => Math.abs(row[0] + row[1] + row[2]) > 1e-6);
    found.push({
      kelvin: KELVIN[one.illuminant] ?? 0,
      color: matrix.map((row) => row.map((value) => value / brightest)),
      forward: isTold ? times(diagonal(toXyz(D50)), normalizeRows(forward)) : null,
      unit: isSound(own) ? times(analog, own) : analog,
    });
  }
  return found.sort((one, other) => one.kelvin - other.kelvin);
}

// What two calibrations say under a light: interpolated by inverse temperature.
function under(white, [low, high]) {
  const share = (1 / temperatureOf(white) - 1 / high.kelvin) / (1 / low.kelvin - 1 / high.kelvin);
  const weights = [Math.min(Math.max(share, 0), 1)];
  weights.push(1 - weights[0]);
  const both = low.forward && high.forward;
  const unit = mix(weights, [low.unit, high.unit]);
  return {
    unit,
    color: times(unit, mix(weights, [low.color, high.color])),
    forward: both ? mix(weights, [low.forward, high.forward]) : (low.forward ?? high.forward),
  };
}

function lightOf(neutral, pair) {
  let last = D50;
  for (let index = 0; index < PASSES; index++) {
    const xyz = apply(inverse(under(last, pair).color), neutral);
    const total = xyz[0] + xyz[1] + xyz[2];
    if (!(total > 1e-9 && xyz[1] / total > 1e-6)) throw new RangeError("the white balance is for no light");
    let found = [xyz[0] / total, xyz[1] / total];
    if (Math.abs(found[0] - last[0]) + Math.abs(found[1] - last[1]) < CLOSE) return found;
    if (index === PASSES - 1) found = [(found[0] + last[0]) / 2, (found[1] + last[1]) / 2]; // it may go to and fro
    last = found;
  }
  return last;
}

function fromPair(gains, pair) {
  const neutral = gains.map((gain) => 1 / gain);
  const white = lightOf(neutral, pair);
  const found = under(white, pair);
  let toXyzD65;
  if (found.forward) {
    const toReference = inverse(found.unit);
    const reference = apply(toReference, neutral);
    toXyzD65 = times(adaptation(D50, D65), times(found.forward, times(diagonal(reference.map((value) => 1 / value)), toReference)));
  } else {
    toXyzD65 = times(adaptation(white, D65), inverse(found.color));
  }
  const matrix = normalizeRows(times(times(inverse(CANONICAL_TO_XYZ), toXyzD65), diagonal(neutral)));
  if (!(Math.max(...matrix.flat().map(Math.abs)) < LARGEST_ENTRY)) throw new RangeError("the color matrix is not sound");
  return matrix;
}

// The matrix of balanced camera RGB -> linear Rec. 2020 for these gains; null where the camera's color is not known.
// `color` is `color_data` of libraw-wasm's metadata.
export function colorMatrix(color, gains) {
  const pair = calibrationsOf(color);
  const fixed = [
    [color.cmatrix, (matrix) => normalizeRows(times(SRGB_TO_CANONICAL, matrix))],
    [color.cam_xyz, (matrix) => inverse(normalizeRows(times(matrix, CANONICAL_TO_XYZ)))],
  ];
  if (pair.length === 2 && pair[0].kelvin > 0 && pair[0].kelvin < pair[1].kelvin) {
    try {
      return fromPair(gains, pair);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // the gains are for no light: what follows serves any
    }
  }
  for (const [rows, convert] of fixed) {
    const matrix = rows.slice(0, 3).map((row) => row.slice(0, 3));
    if (!isSound(matrix, 1e-4)) continue;
    const found = convert(matrix);
    if (Math.max(...found.flat().map(Math.abs)) < LARGEST_ENTRY) return found;
  }
  return null;
}

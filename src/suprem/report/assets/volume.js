// The packed volumes of a viewer, unpacked by the browser itself.

const STRIDE = (shape) => [1, shape[0], shape[0] * shape[1]];

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text); // several times faster, in browsers since 2025
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The voxels behind the element `id`, in the order x fastest, z slowest. */
async function unpack(id, bytesPerVoxel, count) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser is too old to unpack the scan; any browser since 2023 can.");
  }
  const element = document.getElementById(id);
  const packed = fromBase64(element.textContent);
  element.remove(); // the text is not needed again, and as long as the scan itself
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  if (buffer.byteLength !== count * bytesPerVoxel) {
    throw new Error("The scan in this page is damaged: it has not the size that the page states.");
  }
  return bytesPerVoxel === 1 ? new Uint8Array(buffer) : new Uint16Array(buffer);
}

/** Grey of each of the 256 codes for a window, as the four bytes of a pixel. */
function greys(hu, level, width) {
  const table = new Uint32Array(256);
  const low = level - width / 2;
  for (let code = 0; code < 256; code += 1) {
    const grey = Math.round(255 * Math.min(1, Math.max(0, (hu[code] - low) / width)));
    table[code] = (0xff000000 | (grey * 0x010101)) >>> 0;
  }
  return table;
}

/** For each palette index the number + 1 of the visible structure on top: the smallest one. 0 is none. */
function topmost(palette, structures, visible) {
  return Uint16Array.from(palette, (members) => {
    let best = -1;
    for (const number of members) {
      if (visible[number] && (best < 0 || structures[number].voxels < structures[best].voxels)) best = number;
    }
    return best + 1;
  });
}

function rgbOf(color) {
  const value = parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

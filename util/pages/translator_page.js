// IMAGE = {channels, stride, smallest}: what the network takes, LIMIT: pixels a side, FILES = {script, wasm, model}: gzip in base64, MODULE: an address.
const unpack = (packed) => new Response(new Blob([Uint8Array.from(atob(packed), (c) => c.charCodeAt(0))]).stream()
  .pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
// The network runs in a worker, so that the page stays awake; it gets this function's text. Everything is handed over as
// bytes, and the module as a data: address: a page from the file system may load nothing else.
function work() {
  let session;
  onmessage = async ({data, ports: [port]}) => {
    try {
      if (data.model) {
        Object.assign(ort.env.wasm, {numThreads: 1, wasmBinary: data.wasm, wasmPaths: {mjs: data.module}});
        session = await ort.InferenceSession.create(data.model);
        port.postMessage({});
      } else {
        const {translation} = await session.run({image: new ort.Tensor("float32", data.values, data.shape)});
        port.postMessage({values: translation.data, shape: translation.dims});
      }
    } catch (error) { port.postMessage({error: String(error.message || error)}); }
  };
}
let worker;
const ask = (message) => new Promise((resolve, reject) => {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = ({data}) => (data.error ? reject(Error(`The network could not be run here: ${data.error}`)) : resolve(data));
  worker.postMessage(message, [port2]);
});
async function start() {
  if (!self.DecompressionStream || !self.WebAssembly) throw Error("This browser is too old for the page: it lacks DecompressionStream or WebAssembly.");
  const [script, wasm, model] = await Promise.all([FILES.script, FILES.wasm, FILES.model].map(unpack));
  worker = new Worker(URL.createObjectURL(new Blob([script, `(${work})()`], {type: "text/javascript"})));
  await ask({module: MODULE, wasm, model});
}

// A picture as the network gets it: upright and in sRGB, which the browser sees to; transparent parts white.
async function read(file) {
  const image = await createImageBitmap(file).catch(() => {
    throw Error(`${file.name} is no picture that this browser can read; a JPEG or PNG file is.`);
  });
  const factor = Math.min(1, LIMIT / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * factor)));
  const canvas = make("canvas", {width, height}), context = canvas.getContext("2d", {willReadFrequently: true});
  const draw = () => {
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
  const clear = draw();
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  return {width, height, pixels: draw(), clear, note: factor < 1
    ? `${file.name} (${image.width} × ${image.height} pixels) was scaled down to ${width} × ${height}: larger ones take too long in a browser.` : null};
}
const reflect = (i, length) => {
  const period = Math.max(1, 2 * (length - 1));
  return Math.min(i % period, period - i % period);
};
function toTensor({width, height, pixels}) {
  const [w, h] = [width, height].map((side) => Math.max(IMAGE.smallest, Math.ceil(side / IMAGE.stride) * IMAGE.stride));
  const values = new Float32Array(IMAGE.channels * w * h);
  for (let i = 0; i < w * h; i++) {
    const at = 4 * (reflect(Math.floor(i / w), height) * width + reflect(i % w, width)), [r, g, b] = pixels.subarray(at, at + 3);
    const levels = IMAGE.channels === 3 ? [r, g, b] : [(19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16];
    levels.forEach((level, c) => { values[c * w * h + i] = level / 127.5 - 1; });
  }
  return {values, shape: [1, IMAGE.channels, h, w]};
}
function toPicture({values, shape: [, channels, h, w]}, {width, height, clear}) {
  const picture = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++)
      picture.data[4 * i + c] = 127.5 * (values[(c % channels) * w * h + Math.floor(i / width) * w + i % width] + 1); // it rounds and cuts off
    picture.data[4 * i + 3] = clear[4 * i + 3];
  }
  return picture;
}
const toFile = (picture) => new Promise((resolve) => {
  const canvas = make("canvas", {width: picture.width, height: picture.height});
  canvas.getContext("2d").putImageData(picture, 0, 0);
  canvas.toBlob((blob) => resolve(URL.createObjectURL(blob)));
});

const say = (...lines) => $("#said").replaceChildren(...lines.filter(Boolean).map((line) => (line instanceof Error
  ? make("p", {class: "error", role: "alert"}, line.message) : line instanceof Node ? line : make("p", {}, line))));
function show(before, after, ratio, name) {
  const slider = make("input", {type: "range", min: 0, max: 100, step: "any", "aria-label": "how much of the photo covers its translation",
    oninput: () => pair.style.setProperty("--split", `${slider.value}%`)});
  const pair = make("div", {class: "pair", style: `--ratio: ${ratio}`}, make("img", {src: before, alt: `${name}, the photo`}),
    make("img", {src: after, alt: `${name}, translated`}), make("i"), make("em", {}, "photo"), make("em", {}, "translation"), slider);
  $("#result").replaceChildren(pair, make("a", {id: "download", class: "button", href: after, download: `${name}_translated.png`}, "Download"));
}

let newest = 0;
let ready = start();
async function translate(files) {
  const images = [...files].filter((file) => file.type.startsWith("image/")), file = images[0] || files[0];
  if (!file) return;
  const number = ++newest;
  const tell = (...lines) => { if (number === newest) say(...lines); };
  const wait = (words) => tell(words, make("progress", {"aria-label": words}));
  const others = files.length > 1 ? `Of ${files.length} files ${file.name} was taken: one at a time.` : null;
  try {
    wait("The network is unpacked …");
    await ready;
    const picture = await read(file);
    wait(`${file.name} is translated: ${picture.width} × ${picture.height} pixels …`);
    const translation = toPicture(await ask(toTensor(picture)), picture);
    const shown = await Promise.all([new ImageData(picture.clear, picture.width, picture.height), translation].map(toFile));
    if (number === newest) show(...shown, picture.width / picture.height, file.name.replace(/\.[^.]*$/, ""));
    tell(others, picture.note);
  } catch (error) { tell(others, error); }
}
ready.catch(say);
for (const input of document.querySelectorAll("#where input")) input.onchange = () => { translate(input.files); input.value = ""; };
addEventListener("paste", ({clipboardData: {files}}) => (files.length ? translate(files) : say(Error("What was pasted is no picture."))));
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
for (const left of ["dragleave", "drop"]) addEventListener(left, () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  const {files} = event.dataTransfer;
  files.length ? translate(files) : say(Error("What was dropped is no file; save the picture first."));
});

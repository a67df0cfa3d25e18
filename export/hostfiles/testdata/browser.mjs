// Opens the demo page in headless Chromium, reads a text with a question and prints the answer:
//   node browser.mjs URL CHROMIUM TEXT-FILE QUESTION PRECISION MOST
import { readFile } from "node:fs/promises";
import puppeteer from "puppeteer-core";

const [url, executablePath, file, question, precision, most] = process.argv.slice(2);
const browser = await puppeteer.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
try {
  const page = await browser.newPage();
  page.on("console", (m) => console.error("page:", m.text()));
  page.on("pageerror", (e) => console.error("page:", e.message));
  const state = (pattern, timeout) => page.waitForFunction((p) => new RegExp(p).test(document.getElementById("state").textContent), { timeout }, pattern);
  await page.goto(url);
  await state("^Ready|^It failed", 60000);
  await page.select("#precision", precision);
  await state(`^Ready: .*${precision}|^It failed`, 60000);
  await page.evaluate((text) => { document.getElementById("text").value = text; }, await readFile(file, "utf8"));
  await page.type("#question", question);
  await page.evaluate((most) => { document.getElementById("most").value = most; }, most);
  await page.click("#ask");
  await state("^Done|^It failed", 150000);
  const { answer, done } = await page.evaluate(() => ({ answer: document.getElementById("answer").textContent, done: document.getElementById("state").textContent }));
  console.error(done);
  if (!done.startsWith("Done")) process.exitCode = 1;
  console.log(answer);
} finally {
  await browser.close();
}

// One player at a time; within an article the next one goes on where the last one was, if both are of one time line.
// A page without a box for equal loudness needs no gains, and roles that name no time line are of one.
const equal = document.getElementById("equal");
let heard = null;
for (const article of document.querySelectorAll("article")) {
  const roles = [...article.querySelectorAll(".role")], at = {};
  const gains = roles.map(role => +role.dataset.gain), top = Math.min(Math.max(...gains), 8 * Math.min(...gains));
  for (const role of roles) {
    const audio = role.querySelector("audio"), button = role.querySelector("button"), line = role.dataset.timeline;
    const level = () => { audio.volume = equal?.checked ? Math.min(1, role.dataset.gain / top) : 1; };
    equal?.addEventListener("change", level);
    button.onclick = () => { if (audio.paused) audio.play(); else audio.pause(); };
    audio.onplay = () => {
      if (heard && heard !== audio) {
        if (!heard.paused) heard.pause();
        const before = heard.closest(".role");
        if (article.contains(heard) && before.dataset.timeline === line) at[line] = heard.currentTime;
      }
      if (heard !== audio) {
        const from = at[line] < audio.duration - 0.05 ? at[line] : 0;
        // A FLAC file of one frame, a part of a second, cannot be sought in: it would stop with an error.
        if (audio.duration > 1 && Math.abs(audio.currentTime - from) > 0.01) audio.currentTime = from;
        heard = audio;
      }
      level();
      button.setAttribute("aria-pressed", true);
    };
    audio.onpause = () => { at[line] = audio.currentTime; button.setAttribute("aria-pressed", false); };
  }
}
document.addEventListener("keydown", event => {
  if (!heard || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("audio, input, summary, button") && event.key === " ") return;
  const buttons = heard.closest("article").querySelectorAll(".switch"), chosen = buttons[+event.key - 1];
  if (event.key === " ") { event.preventDefault(); heard.paused ? heard.play() : heard.pause(); }
  else if (event.key >= "1" && event.key <= "9" && chosen && chosen.closest(".role").querySelector("audio").paused) chosen.click();
});

// Faults at the token endpoint, asked for by a test through the control API.
//
// A fault is `{grant?, via?, times?, after?, status?, headers?, body?, delay_ms?, hold?, hang?, reset?, half?}`:
//   grant     only calls with this grant_type
//   via       only calls to `/token?via=…`, for tests with several services or replicas
//   times     how many calls it strikes (1 by default; 0: until cleared)
//   after     true: the provider works first (codes are spent, refresh tokens rotated) and its answer is lost
//   status, headers, body    the answer instead, verbatim
//   delay_ms  wait before the answer (its own, or the provider's where no other answer is given)
//   hold      wait until `release` (no clocks in the test)
//   hang      never answer
//   reset     close the connection without an answer
//   half      close the connection in the middle of a well-begun answer

/** The faults in force, struck in the order they were added. */
export class Faults {
  constructor() {
    this.queue = [];
    this.waiting = [];
  }

  add(fault) {
    this.queue.push({ times: 1, ...fault });
  }

  clear() {
    this.queue = [];
    this.release();
  }

  /** Lets every held call go on. */
  release() {
    const waiting = this.waiting;
    this.waiting = [];
    for (const go of waiting) go();
    return waiting.length;
  }

  /** How many calls are held right now. */
  get held() {
    return this.waiting.length;
  }

  #next({ grant, via }) {
    const index = this.queue.findIndex(
      (fault) => (!fault.grant || fault.grant === grant) && (!fault.via || fault.via === via),
    );
    if (index < 0) return undefined;
    const fault = this.queue[index];
    if (fault.times > 0 && (fault.times -= 1) === 0) this.queue.splice(index, 1);
    return fault;
  }

  async #pause(fault) {
    if (fault.hold) await new Promise((resolve) => this.waiting.push(resolve));
    if (fault.delay_ms) await new Promise((resolve) => setTimeout(resolve, fault.delay_ms));
  }

  /** Handles one `call` of the token endpoint, `{grant, via}`: `work` is the provider's own handler. */
  async strike(call, request, response, work) {
    const fault = this.#next(call);
    if (!fault) return work();
    const own = fault.status !== undefined || fault.body !== undefined || fault.reset || fault.hang || fault.half;
    const answer = () => {
      if (fault.hang) return;
      if (fault.reset) {
        request.socket.destroy();
        return;
      }
      for (const name of response.getHeaderNames()) response.removeHeader(name);
      if (fault.half) {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '500' });
        response.write('{"access_token":"half-of-an-answer","token_type":"Bea', () => request.socket.destroy());
        return;
      }
      response.writeHead(fault.status ?? 200, fault.headers ?? { 'content-type': 'application/json' });
      response.end(fault.body ?? '');
    };
    if (own && !fault.after) {
      await this.#pause(fault);
      return answer();
    }
    if (!own && !fault.after) {
      await this.#pause(fault);
      return work();
    }
    // The provider works at once; only its answer waits, or is replaced.
    const end = response.end.bind(response);
    response.end = (...rest) => {
      response.end = end;
      this.#pause(fault).then(() => (own ? answer() : end(...rest)));
      return response;
    };
    return work();
  }
}

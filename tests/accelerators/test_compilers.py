"""The count of kernels, on a program written by hand."""

import compilers

PROGRAM = """
HloModule example

%body (carry: (s32[], f32[4])) -> (s32[], f32[4]) {
  %carry = (s32[], f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %x = f32[4]{0} get-tuple-element(%carry), index=1
  %next = s32[] fusion(%i), kind=kLoop, calls=%increment
  %y = f32[4]{0} fusion(%x), kind=kLoop, calls=%halve
  ROOT %both = (s32[], f32[4]{0}) tuple(%next, %y)
}

%one (x: f32[4]) -> f32[4] {
  %x.1 = f32[4]{0} parameter(0)
  ROOT %sorted = f32[4]{0} sort(%x.1), dimensions={0}, to_apply=%less
}

%three (x: f32[4]) -> f32[4] {
  %x.2 = f32[4]{0} parameter(0)
  %copied = f32[4]{0} copy(%x.2)
  %product = (f32[4]{0}, s8[64]{0}) custom-call(%copied), custom_call_target="gemm"
  %first = f32[4]{0} get-tuple-element(%product), index=0
  ROOT %last = f32[4]{0} fusion(%first), kind=kLoop, calls=%halve
}

ENTRY %main (a: f32[4], p: pred[]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %p = pred[] parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[4]{0}) tuple(%zero, %a)
  %loop = (s32[], f32[4]{0}) while(%start), condition=%less, body=%body, TRIPS
  %b = f32[4]{0} get-tuple-element(%loop), index=1
  %c = f32[4]{0} conditional(%p, %b, %b), true_computation=%one, false_computation=%three
  ROOT %d = f32[4]{0} call(%c), to_apply=%one
}
"""


def test_a_loop_counts_for_each_round_and_a_condition_by_its_longest_branch():
    known = 'backend_config={"known_trip_count":{"n":"7"},"known_init_step":{"init":"0"}}'
    assert compilers.launches(PROGRAM.replace("TRIPS", known)) == 7 * 2 + 3 + 1
    listed = PROGRAM.replace(
        "true_computation=%one, false_computation=%three", "branch_computations={%one, %three}"
    )
    assert compilers.launches(listed.replace("TRIPS", known)) == 7 * 2 + 3 + 1


def test_a_loop_of_unknown_length_has_no_count():
    assert compilers.launches(PROGRAM.replace("TRIPS", "metadata={}")) is None

"""Prints the golden values of similarity_mse and similarity_kl in src/laws/similarities.rs, in f64.

    python golden_similarity.py

The values are loops over pairs of rows, and the gradients of the student's vectors are those of torch's autograd. The
teacher has 4 rows of 3 entries, and the student has 4 rows of 2. Last run with torch 2.11.0.
"""

import torch

TEACHER = [[0.5, -1.0, 0.25], [1.5, 0.0, -0.5], [-0.75, 0.5, 1.0], [0.25, 1.25, -1.5]]
STUDENT = [[0.5, 1.0], [-1.0, 0.75], [0.25, -0.5], [1.25, 0.5]]
SCALE = 0.8


def others(rows, i):
    """The dot products of row i with all other rows."""
    return [torch.dot(rows[i], rows[j]) for j in range(len(rows)) if j != i]


def similarity_mse(teacher, student):
    rows = range(len(student))
    errors = [t - s for i in rows for t, s in zip(others(teacher, i), others(student, i))]
    return sum(error**2 for error in errors) / len(errors)


def similarity_kl(teacher, student):
    total = 0
    for i in range(len(student)):
        t = torch.exp(SCALE * torch.stack(others(teacher, i)))
        s = torch.exp(SCALE * torch.stack(others(student, i)))
        p, q = t / t.sum(), s / s.sum()
        total = total + sum(p[j] * torch.log(p[j] / q[j]) for j in range(len(p)))
    return total / len(student)


def main():
    for loss in (similarity_mse, similarity_kl):
        teacher = torch.tensor(TEACHER, dtype=torch.float64)
        student = torch.tensor(STUDENT, dtype=torch.float64, requires_grad=True)
        value = loss(teacher, student)
        value.backward()
        print(loss.__name__, repr(value.item()))
        for row in student.grad.tolist():
            print("   ", ", ".join(map(repr, row)))


if __name__ == "__main__":
    main()

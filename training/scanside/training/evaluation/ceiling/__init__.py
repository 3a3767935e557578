"""What an observer that knows the phantom could reach at most, beside what was reached (docs/adr/0039).

scene.py      images without noise, with the lesion and without it
observers.py  three observers of a scene
oracle.py     the diagnosis from a lesion's true parameters
records.py    ceiling.json
step.py       the way of `scanside cohort ceiling`, in order
figure.py     Dice against contrast
"""
